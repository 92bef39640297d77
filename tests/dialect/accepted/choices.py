# SPDX-License-Identifier: GPL-2.0-only
"""choose gives any number below its argument; the variable's size follows from it."""

from __future__ import annotations

from ptelab.lang import choose, param, u2, u4

NR = param("NR")


def f(n: u4) -> u4:
    a = choose(3)
    b = choose(NR)
    c = choose(n)
    d: u2 = choose(n + 1)
    if choose(2) == 1:
        return a
    return b + c + d
