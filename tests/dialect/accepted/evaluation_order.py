# SPDX-License-Identifier: GPL-2.0-only
"""Accesses come in Python's order: right side first, then the target's handle, then the store."""

from __future__ import annotations

from ptelab.lang import struct, u4, u8


@struct
class Node:
    a: u4
    b: u4
    next: Node | None


def bump(n: Node) -> u4:
    n.a = 1
    return n.b


def f(n: Node) -> u8:
    n.next.next.a = n.b + bump(n.next)
    n.next.a += bump(n)
    return n.a * 2 + bump(n) - n.a
