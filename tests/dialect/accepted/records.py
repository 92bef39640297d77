# SPDX-License-Identifier: GPL-2.0-only
"""A NamedTuple is copied, replaced, compared and accessed as a whole; parts may depend on each other."""

from __future__ import annotations

from typing import NamedTuple

from ptelab.lang import Array, array, struct, u1, u4


class pfn_t(NamedTuple):
    low: u4 = 0
    high: u4 = 0


class pte_t(NamedTuple):
    present: bool = False
    dirty: bool = False
    pfn: pfn_t = pfn_t()


EMPTY = pte_t()


@struct
class Table:
    entry: Array[pte_t] = array(2)
    one: pte_t


def swap(p: pfn_t) -> pfn_t:
    p = p._replace(low=p.high, high=p.low)
    return p


def f(t: Table, i: u1) -> bool:
    pte = t.entry[i]
    if pte == EMPTY:
        pte = pte_t(present=True, pfn=swap(pte.pfn))
    t.one = pte._replace(dirty=True, pfn=pte.pfn._replace(low=3))
    return t.entry[i].dirty and t.one.pfn.high != 0
