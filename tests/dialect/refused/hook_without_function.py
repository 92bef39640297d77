# SPDX-License-Identifier: GPL-2.0-only
@on_entry()
def f() -> None:
    pass
