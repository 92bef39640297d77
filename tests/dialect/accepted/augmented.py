# SPDX-License-Identifier: GPL-2.0-only
"""An augmented assignment to shared memory is a load and a store, and evaluates its handle once."""

from __future__ import annotations

from ptelab.lang import Array, array, struct, u1, u4


@struct
class Page:
    refs: u4
    next: Page | None
    arr: Array[u4] = array(2)


def f(p: Page, i: u1) -> None:
    p.next.refs += 1
    p.arr[i] -= p.refs
    p.refs |= 1 << i
    p.refs ^= 3
