# SPDX-License-Identifier: GPL-2.0-only
"""Arguments by position, keyword and default, evaluated in the order of the call; several results."""

from __future__ import annotations

from typing import NamedTuple

from ptelab.lang import struct, u4


class pte_t(NamedTuple):
    present: bool = False
    pfn: u4 = 0


@struct
class Page:
    refs: u4
    pte: pte_t


def two(p: Page, n: u4, pte: pte_t = pte_t(), last: bool = False) -> tuple[u4, pte_t]:
    if last:
        return n, pte
    return p.refs, p.pte


def again(p: Page) -> tuple[u4, pte_t]:
    return two(p, 1)


def nothing(p: Page) -> None:
    if p.refs == 0:
        return
    p.refs = 1


def f(p: Page) -> u4:
    n, pte = two(last=True, n=p.refs, p=p)
    m, _ = two(p, n, pte)
    _, pte = again(p)
    _ = nothing_much(p)
    two(p, m)
    nothing(p)
    return n


def nothing_much(p: Page) -> bool:
    return p.refs != 0
