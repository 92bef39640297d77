# SPDX-License-Identifier: GPL-2.0-only
"""Layout parameters size arrays and integers; constants are computed."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from ptelab.lang import Array, array, param, struct, upto

NR_PAGES = param("NR_PAGES")
PTRS = param("PTRS", 2)
SHIFT = 2
SIZE = 1 << SHIFT
MASK: Final = SIZE - 1
HALF = NR_PAGES // 2
Addr: TypeAlias = Annotated[int, upto("NR_PAGES")]
Small: TypeAlias = Annotated[int, upto(6)]
Same: TypeAlias = Addr


@struct
class Table:
    entry: Array[Small] = array(PTRS)
    other: Array[bool] = array(SIZE)


def f(t: Table, a: Addr, b: Same) -> bool:
    t.entry[a & MASK] = SIZE
    t.entry[a % PTRS] = a // PTRS
    return a + b < HALF or a == NR_PAGES
