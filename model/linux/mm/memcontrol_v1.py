# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/memcontrol-v1.c (v7.0).

Left out: all but setting a limit.
"""

from linux.errno import EBUSY
from linux.memcontrol import mem_cgroup
from linux.types import Errno
from mm.vmscan import try_to_free_mem_cgroup_pages

from ptelab.lang import u16


def mem_cgroup_resize_max(memcg: mem_cgroup, max: u16) -> Errno:
    """Set how much may be charged to a memory cgroup; what is above is reclaimed first, a batch at a time.

    Left out: charges that each CPU keeps in stock; others who charge at the same time.
    """
    while memcg.memory_usage > max:
        if try_to_free_mem_cgroup_pages(memcg, 1) == 0:
            return EBUSY
    memcg.memory_max = max
    return 0
