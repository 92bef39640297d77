# SPDX-License-Identifier: GPL-2.0-only
"""A shared access or a call in a later operand happens only if needed."""

from __future__ import annotations

from ptelab.lang import struct, u4


@struct
class Page:
    locked: bool
    refs: u4
    next: Page | None


def big(p: Page) -> bool:
    return p.refs > 2


def f(p: Page) -> bool:
    if p.next is not None and (p.next.locked or big(p.next)) and not p.locked:
        return True
    both = p.locked and p.next.locked
    either: bool = both or big(p) or p.refs == 1
    return either and both and big(p)
