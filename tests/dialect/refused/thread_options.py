# SPDX-License-Identifier: GPL-2.0-only
@thread(2)
def f() -> None:
    pass
