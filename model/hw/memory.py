# SPDX-License-Identifier: GPL-2.0-only
"""Physical memory, the disk, and addresses.

A page frame holds one datum.  A page-table page is a run of entries of the architecture (`cpu`), so `Table` itself
has no content.  Every access is one step, and steps are seen by all in one order.

Differs: an address counts pages, PAGE_SIZE is 1 and PAGE_SHIFT is 0: what is smaller than a page has no part in the
questions asked.  Differs: memory is sequentially consistent; x86's store buffers can delay no page-table update past a
locked instruction or an interrupt, and the paths modelled have one before whatever waits for them.
"""

from typing import Annotated, TypeAlias

from ptelab.lang import Array, Ghost, array, param, struct, upto

NR_PAGES = param("NR_PAGES", 2)
NR_CPUS = param("NR_CPUS", 2)
VALUE_MAX = param("VALUE_MAX", 3)
FILE_PAGES = param("FILE_PAGES", 2)
SWAP_SLOTS = param("SWAP_SLOTS", 1)

Addr: TypeAlias = Annotated[int, upto("NR_PAGES")]
CpuNr: TypeAlias = Annotated[int, upto("NR_CPUS")]
Value: TypeAlias = Annotated[int, upto("VALUE_MAX")]
Pfn: TypeAlias = Annotated[int, upto("nr_Frame")]
TablePfn: TypeAlias = Annotated[int, upto("nr_Table")]


@struct
class Frame:
    """A page frame: what is stored in it, and what the invariants remember of it."""

    data: Value
    newer_than_disk: Ghost[bool]
    freed: Ghost[bool]
    device: Ghost[bool]
    unrecorded: Ghost[bool]


@struct
class Table:
    """A page-table page.  `retired`: freed, or waiting for a grace period; no hardware may read it any more.

    `reused`: freed without a grace period, so that no kernel code may read it either.
    """

    retired: Ghost[bool]
    reused: Ghost[bool]


@struct
class Disk:
    """What the disk holds of one file: a datum per page."""

    block: Array[Value] = array(FILE_PAGES)


@struct
class SwapDisk:
    """What a disk that pages are swapped to holds: a datum per slot, at the slot's number less 1."""

    block: Array[Value] = array(SWAP_SLOTS)
