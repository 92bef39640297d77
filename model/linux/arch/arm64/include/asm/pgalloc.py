# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/pgalloc.h (v7.0)."""

from asm.pgtable import set_pmd
from asm.pgtable_types import pmd_p, pmd_t
from asm.tlb import __pte_free_tlb  # noqa: F401
from asm_generic.pgalloc import pte_alloc_one, pte_free  # noqa: F401
from linux.mm_types import mm_struct, ptdesc

from ptelab.lang import index_of


def pmd_populate(mm: mm_struct, pmdp: pmd_p, ptep: ptdesc) -> None:
    """Let an upper entry name a PTE table."""
    set_pmd(pmdp, pmd_t(valid=True, pfn=index_of(ptep)))
