# SPDX-License-Identifier: GPL-2.0-only
"""Ghost code reads anything, writes ghosts, and calls pure functions as twins without steps."""

from __future__ import annotations

from typing import NamedTuple

from ptelab.lang import Ghost, at, flag, ghost, per_cpu, percpu, pool, reach, struct, u4


class pte_t(NamedTuple):
    pfn: u4 = 0


@struct
class Page:
    refs: u4
    seen: Ghost[bool]


@percpu
class Tlb:
    pte: pte_t


@ghost
class Book:
    last: u4
    page: Page | None


def refs(p: Page) -> u4:
    return p.refs


@ghost
def note(p: Page) -> bool:
    p.seen = True
    at(Book, 0).last = refs(p)
    at(Book, 0).page = p
    for tlb in pool(Tlb):
        if tlb.pte.pfn == 3:
            flag("stale", page=p, pte=tlb.pte, refs=p.refs, sum=p.refs + 1)
    if per_cpu(Tlb, 1).pte.pfn == 2:
        reach("second")
    return p.seen


def f(p: Page) -> None:
    p.refs = refs(p)
    note(p)
