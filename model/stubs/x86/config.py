# SPDX-License-Identifier: GPL-2.0-only
"""How the kernel is configured on x86-64.

CONFIG_TLB_GENERATIONS is no option of Linux, which always counts the flushes of an mm and keeps what a CPU has loaded.
Where no CPU ever changes its mm nor is lazy, both decide nothing but which flushes are needless, and cost many states.
CONFIG_MADVISE_FAULTS is none either, on any architecture: whether madvise knows what takes page faults.
CONFIG_UFFD_WP_ASYNC is none: whether all that is registered with userfaultfd is so with UFFD_FEATURE_WP_ASYNC.
"""

from ptelab.lang import param

CONFIG_SMP = param("CONFIG_SMP", 1)
CONFIG_MMU_GATHER_MERGE_VMAS = 1
CONFIG_MMU_GATHER_NO_GATHER = 0
CONFIG_MEM_SOFT_DIRTY = param("CONFIG_MEM_SOFT_DIRTY", 0)
CONFIG_HAVE_MOVE_PMD = 1
CONFIG_TLB_GENERATIONS = param("CONFIG_TLB_GENERATIONS", 0)
CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH = CONFIG_SMP
CONFIG_PT_RECLAIM = 1
CONFIG_SWAP = param("CONFIG_SWAP", 0)
CONFIG_MADVISE_FAULTS = param("CONFIG_MADVISE_FAULTS", 0)
CONFIG_UFFD_WP_ASYNC = param("CONFIG_UFFD_WP_ASYNC", 0)
