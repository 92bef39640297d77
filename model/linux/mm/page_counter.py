# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/page_counter.c (v7.0).

Differs: a struct page_counter is two members of its memory cgroup.  Left out: charging, which nothing does once a run
has begun.
"""

from linux.errno import EBUSY
from linux.memcontrol import mem_cgroup
from linux.types import Errno

from ptelab.lang import atomic_read, u16, xchg

# No limit.
PAGE_COUNTER_MAX = 65535


def page_counter_set_max(memcg: mem_cgroup, nr_pages: u16) -> Errno:
    """Set a limit, unless more is charged already.

    Left out: taking the limit back when more was charged meanwhile.
    """
    if atomic_read(memcg.memory_usage) > nr_pages:
        return EBUSY
    xchg(memcg.memory_max, nr_pages)
    return 0
