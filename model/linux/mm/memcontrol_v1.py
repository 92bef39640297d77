# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/memcontrol-v1.c (v7.0).

Left out: all but setting a limit.
"""

from linux.errno import EBUSY
from linux.memcontrol import mem_cgroup
from linux.types import Errno
from mm.page_counter import page_counter_set_max
from mm.vmscan import try_to_free_mem_cgroup_pages

from ptelab.lang import u16


def mem_cgroup_resize_max(memcg: mem_cgroup, max: u16) -> Errno:
    """Set how much may be charged to a memory cgroup; what is above is reclaimed first, a batch at a time.

    Left out: charges that each CPU keeps in stock; others who set the limit at the same time.
    """
    while True:
        ret = page_counter_set_max(memcg, max)
        if ret == 0:
            return 0
        if try_to_free_mem_cgroup_pages(memcg, 1) == 0:
            return EBUSY
