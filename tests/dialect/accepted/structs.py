# SPDX-License-Identifier: GPL-2.0-only
"""Members of every type; a struct that nobody uses is not in the module."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from ptelab.lang import Array, Ghost, array, rw_semaphore, spinlock_t, struct, u12, u4, u8


class Kind(IntEnum):
    FREE = 0
    FILE = 1


class pte_t(NamedTuple):
    present: bool = False
    pfn: u4 = 0


@struct
class Folio:
    """A page."""

    kind: Kind
    locked: bool
    refs: u8
    next: Folio | None
    owner: Mm
    lock: spinlock_t
    sem: rw_semaphore
    pte: pte_t
    table: Array[pte_t] = array(4)
    shadow: Ghost[bool]


@struct
class Mm:
    users: u12


@struct
class Unused:
    x: bool


def f(folio: Folio) -> u8:
    return folio.refs
