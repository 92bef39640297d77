# SPDX-License-Identifier: GPL-2.0-only
@ghost
@thread()
def f() -> None:
    pass
