# SPDX-License-Identifier: GPL-2.0-only
"""How the kernel is configured on s390."""

from ptelab.lang import param

CONFIG_SMP = 1
CONFIG_MMU_GATHER_MERGE_VMAS = 1
CONFIG_MMU_GATHER_NO_GATHER = 1
CONFIG_MEM_SOFT_DIRTY = param("CONFIG_MEM_SOFT_DIRTY", 0)
CONFIG_HAVE_MOVE_PMD = 0
