# SPDX-License-Identifier: GPL-2.0-only
async def f() -> None:
    pass
