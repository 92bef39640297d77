# SPDX-License-Identifier: GPL-2.0-only
"""Only the side that is chosen is evaluated; sides without accesses stay an expression."""

from __future__ import annotations

from typing import NamedTuple

from ptelab.lang import struct, u4, u8


class pair(NamedTuple):
    a: u4 = 0
    b: u4 = 0


@struct
class Page:
    refs: u4
    pair: pair
    next: Page | None


def f(p: Page, c: bool) -> u4:
    pure: u8 = 3 if c else 5
    side: u8 = p.refs if c else pure
    which = p.next if c else p
    none: Page | None = None if c else which
    both = p.pair if c else pair(a=1, b=2)
    return both.a if p.refs > 1 else (p.refs if none is None else side)
