# SPDX-License-Identifier: GPL-2.0-only
@thread()
def f(n: u4) -> None:
    pass
