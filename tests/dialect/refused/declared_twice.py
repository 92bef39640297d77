# SPDX-License-Identifier: GPL-2.0-only
def f() -> None:
    pass


def f() -> None:
    pass
