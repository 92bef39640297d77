# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/huge_mm.h (v7.0).

Differs: a huge page is one page: there are huge pages where a PTE table has one entry only.
"""

from asm.pgtable_types import PTRS_PER_PTE

HPAGE_PMD_NR = PTRS_PER_PTE


def thp_is_possible() -> bool:
    """Whether an upper entry may map a folio.

    Differs: Linux has it in include/linux/page-flags.h as folio_test_pmd_mappable, of the folio.
    """
    return HPAGE_PMD_NR == 1
