# SPDX-License-Identifier: GPL-2.0-only
"""xchg and cmpxchg work on records, handles and elements; what is not used is not kept."""

from __future__ import annotations

from typing import NamedTuple

from ptelab.lang import Array, array, cmpxchg, struct, try_cmpxchg, u1, u4, xchg


class pte_t(NamedTuple):
    present: bool = False
    pfn: u4 = 0


@struct
class Table:
    entry: Array[pte_t] = array(2)
    owner: Table | None


def f(t: Table, i: u1) -> bool:
    old = xchg(t.entry[i], pte_t())
    found = cmpxchg(t.entry[i], pte_t(), old)
    if found == old and try_cmpxchg(t.owner, None, t):
        return True
    xchg(t.owner, None)
    cmpxchg(t.owner, t, None)
    try_cmpxchg(t.entry[0], old, old._replace(present=True))
    return xchg(t.entry[i], old).present
