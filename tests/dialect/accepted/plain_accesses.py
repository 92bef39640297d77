# SPDX-License-Identifier: GPL-2.0-only
"""READ_ONCE, WRITE_ONCE and the atomic and bit forms of a read or a write are what a plain one is."""

from __future__ import annotations

from ptelab.lang import Array, READ_ONCE, WRITE_ONCE, array, atomic_read, atomic_set, struct, test_bit, u4


@struct
class Page:
    count: u4
    bit: bool
    next: Page | None
    arr: Array[u4] = array(2)


def f(p: Page) -> u4:
    n = READ_ONCE(p.next)
    WRITE_ONCE(p.next.next, n)
    WRITE_ONCE(p.arr[1], READ_ONCE(p.arr[0]))
    atomic_set(p.count, 3)
    if test_bit(p.bit):
        return 0
    return atomic_read(p.count) + 1
