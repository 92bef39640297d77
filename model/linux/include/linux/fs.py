# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/fs.h (v7.0)."""

from linux.mm_types import Folio
from linux.types import FILE_PAGES

from ptelab.lang import (
    Array,
    array,
    down_read,
    down_read_trylock,
    down_write,
    rw_semaphore,
    struct,
    u4,
    u8,
    up_read,
    up_write,
)


@struct
class address_space:
    """The page cache of one file, and who maps it.

    Differs: the xarray is an array by offset; the interval tree is the set of VMAs in it, a bit per VMA.
    Differs: the flag AS_STABLE_WRITES is a member, and so is whether the file system is shmem, whose a_ops and vm_ops
    lack what is about writeback.  Differs: the size of the file is a member, in pages.  Left out: the inode, tags.
    """

    i_pages: Array[Folio | None] = array(FILE_PAGES)
    i_mmap_rwsem: rw_semaphore
    i_mmap: u8
    AS_STABLE_WRITES: bool
    shmem: bool
    i_size: u4


def i_size_read(mapping: address_space) -> u4:
    """How many pages a file has."""
    return mapping.i_size


def i_size_write(mapping: address_space, i_size: u4) -> None:
    """Change how many pages a file has."""
    mapping.i_size = i_size


def mapping_can_writeback(mapping: address_space) -> bool:
    """Whether pages of the file are written to a disk.

    Differs: Linux has it in include/linux/backing-dev.h.
    """
    return not mapping.shmem


def i_mmap_lock_write(mapping: address_space) -> None:
    """Lock the tree of VMAs that map the file against readers and writers."""
    down_write(mapping.i_mmap_rwsem)


def i_mmap_unlock_write(mapping: address_space) -> None:
    """Undo i_mmap_lock_write."""
    up_write(mapping.i_mmap_rwsem)


def i_mmap_lock_read(mapping: address_space) -> None:
    """Lock the tree of VMAs that map the file against writers."""
    down_read(mapping.i_mmap_rwsem)


def i_mmap_trylock_read(mapping: address_space) -> bool:
    """Lock the tree against writers if that takes no waiting; whether it is locked."""
    return down_read_trylock(mapping.i_mmap_rwsem)


def i_mmap_unlock_read(mapping: address_space) -> None:
    """Undo i_mmap_lock_read."""
    up_read(mapping.i_mmap_rwsem)
