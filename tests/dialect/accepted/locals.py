# SPDX-License-Identifier: GPL-2.0-only
"""Types come from annotations or first values; loads and results go into the variable at once."""

from __future__ import annotations

from ptelab.lang import flag, struct, u4, u8


@struct
class Page:
    refs: u8
    next: Page | None
    flag: bool


def get(p: Page) -> u8:
    return p.refs


def f(p: Page) -> u4:
    refs = p.refs
    small: u4 = p.refs
    flag: bool = p.flag
    count: u4 = p.flag
    next: Page | None
    next = p.next
    same = get(p)
    later: u4 = 0
    later += refs + small - same
    later <<= 1
    if flag and next == p:
        pass
    return later + count
