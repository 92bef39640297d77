# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/current.h (v7.0)."""

from linux.sched import task_struct

from ptelab.lang import this_thread


def get_current() -> task_struct:
    """The task that executes this."""
    return this_thread(task_struct)
