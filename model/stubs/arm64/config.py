# SPDX-License-Identifier: GPL-2.0-only
"""How the kernel is configured on arm64."""

CONFIG_SMP = 1
CONFIG_MMU_GATHER_MERGE_VMAS = 0
CONFIG_MMU_GATHER_NO_GATHER = 0
CONFIG_MEM_SOFT_DIRTY = 0
