# SPDX-License-Identifier: GPL-2.0-only
@struct
class Page:
    refs: u4
    locked: bool
    lock: spinlock_t
    sem: rw_semaphore
    next: Page | None
    pte: pte_t
    table: Array[pte_t] = array(2)
    shadow: Ghost[bool]


class pte_t(NamedTuple):
    present: bool = False
    pfn: u4 = 0


def f(p: Page) -> None:
    g(p)
