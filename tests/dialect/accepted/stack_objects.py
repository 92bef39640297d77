# SPDX-License-Identifier: GPL-2.0-only
"""A stack object is made anew each time; its members are accessed without a step."""

from __future__ import annotations

from ptelab.lang import Array, array, new, onstack, u4


@onstack
class mmu_gather:
    fullmm: bool
    pages: Array[u4] = array(2)


def init(tlb: mmu_gather) -> None:
    tlb.fullmm = True


def f() -> bool:
    tlb = new(mmu_gather)
    init(tlb)
    tlb.pages[0] += 1
    return tlb.fullmm
