# SPDX-License-Identifier: GPL-2.0-only
"""None is handle 0; handles compare with == and is None; chains read every member on the way."""

from __future__ import annotations

from ptelab.lang import struct


@struct
class Mm:
    pgd: Table | None


@struct
class Table:
    used: bool


@struct
class Vma:
    mm: Mm | None
    next: Vma | None


def f(vma: Vma, other: Vma) -> bool:
    if vma.next is None:
        vma.next = other
    if vma.mm is not None and vma.mm == other.mm:
        vma.mm = None
    return vma.mm.pgd.used


def g(vma: Vma | None = None) -> Vma | None:
    vma = vma if vma else None
    return vma
