# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/page.h (v7.0), with what it includes.

Differs: an address counts pages.
"""

from cpu import PTRS_PER_PTE
from hw.memory import NR_PAGES

PAGE_SIZE = 1
PMD_SIZE = PTRS_PER_PTE
TASK_SIZE = NR_PAGES
