# SPDX-License-Identifier: GPL-2.0-only
"""while, while True, break and continue; the condition is evaluated every time."""

from __future__ import annotations

from ptelab.lang import struct, u4


@struct
class Page:
    refs: u4
    next: Page | None


def f(p: Page) -> u4:
    n: u4 = 0
    while p.refs > n and p.next is not None:
        n += 1
        if n == 3:
            continue
        p.refs = n
        if n == 5:
            break
    while True:
        n -= 1
        if n == 0:
            return p.refs
