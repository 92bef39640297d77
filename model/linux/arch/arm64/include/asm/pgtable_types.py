# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/pgtable-types.h (v7.0).

The types of entries are the hardware's own.  Differs: `pte_p` and `pmd_p` are what C writes `pte_t *` and `pmd_t *`.
"""

from typing import NamedTuple

from cpu import PTRS_PER_PMD, PTRS_PER_PTE, pmd_p, pmd_t, pte_p, pte_t  # noqa: F401


class pgprot_t(NamedTuple):
    """The protection bits of an entry that is still to be made.

    Left out: all but PTE_WRITE; PTE_RDONLY and PTE_AF are in every one.
    """

    write: bool = False
