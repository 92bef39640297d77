# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/page.h (v7.0), where the types of entries are.

They are the hardware's own.  Differs: `pte_p` and `pmd_p` are what C writes `pte_t *` and `pmd_t *`.
"""

from typing import NamedTuple

from cpu import PTRS_PER_PMD, PTRS_PER_PTE, pmd_p, pmd_t, pte_p, pte_t  # noqa: F401


class pgprot_t(NamedTuple):
    """The protection bits of an entry that is still to be made.

    Left out: _PAGE_PRESENT, _PAGE_INVALID and _PAGE_PROTECT, which are in every one.
    """

    read: bool = False
    write: bool = False
