# SPDX-License-Identifier: GPL-2.0-only
@cache
def f() -> None:
    pass
