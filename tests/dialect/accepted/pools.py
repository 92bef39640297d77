# SPDX-License-Identifier: GPL-2.0-only
"""Elements by number, numbers of elements, sizes of pools, own elements."""

from __future__ import annotations

from ptelab.lang import at, cpu_id, index_of, nr, percpu, struct, this_cpu, this_thread, thread_id, u4


@struct
class Page:
    refs: u4


@struct
class Task:
    page: Page


@percpu
class Tlb:
    valid: bool


def f(i: u4) -> u4:
    page = at(Page, i)
    n = index_of(page)
    m: u4 = nr(Page) - 1
    own = this_thread(Task)
    cpu = cpu_id()
    thread = thread_id()
    this_cpu(Tlb).valid = True
    at(Page, i + 1).refs = 2
    if index_of(at(Page, i)) == i:
        return own.page.refs
    return n + m + cpu + thread
