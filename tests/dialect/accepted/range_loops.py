# SPDX-License-Identifier: GPL-2.0-only
"""The variable keeps its last value; the end is evaluated once; steps may go down."""

from __future__ import annotations

from ptelab.lang import param, struct, u4

NR = param("NR")


@struct
class Page:
    refs: u4


def f(p: Page, n: u4) -> u4:
    for i in range(3):
        p.refs = i
    for i in range(1, n):
        n = 0
    for j in range(NR):
        if j == p.refs:
            break
    for k in range(p.refs, 12, 4):
        p.refs = k
    for d in range(7, 0, -1):
        if d == n:
            continue
        p.refs = d
    n = 2
    return i + d


def empty() -> None:
    for i in range(0):
        pass
