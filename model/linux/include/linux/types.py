# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/types.h (v7.0).

Differs: `Addr` stands for `unsigned long` where that is a user address, `Pfn` where it is a frame's number, `Errno` for
an `int` that is 0 or an error.
Differs: addresses count pages: PAGE_SIZE is 1.  Differs: errors are positive.
"""

from typing import Annotated, TypeAlias

from ptelab.lang import param, u4, u6, upto

FILE_PAGES = param("FILE_PAGES", 2)
SWAP_SLOTS = param("SWAP_SLOTS", 1)
NR_CPUS = param("NR_CPUS", 2)

Addr: TypeAlias = Annotated[int, upto("NR_PAGES")]
pgoff_t: TypeAlias = Annotated[int, upto("FILE_PAGES")]
Pfn: TypeAlias = Annotated[int, upto("nr_Folio")]
Errno: TypeAlias = u6
atomic_t: TypeAlias = u4
