# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mm_types_task.h (v7.0)."""

from typing import NamedTuple

from ptelab.lang import u8


class tlbflush_unmap_batch(NamedTuple):
    """What a task that reclaims memory has unmapped and not flushed yet.

    Differs: cpumask is a member of the architecture's part, which not all have.
    """

    cpumask: u8 = 0
    flush_required: bool = False
    writable: bool = False
