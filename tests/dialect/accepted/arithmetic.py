# SPDX-License-Identifier: GPL-2.0-only
"""Every operator, with constants folded and as few brackets as needed."""

from __future__ import annotations

from ptelab.lang import param, u16, u8

LAYOUT = param("LAYOUT")


def f(a: u8, b: u8) -> u16:
    c: u16 = (a + b) * 2 - (a - b) // 4 + a % 3
    c = (a & b) | (a ^ 7) & ~8
    c = a << 2 >> 1
    c = 2 + 3 * 4
    c = a // LAYOUT + a % LAYOUT
    d: u8 = -1 + a
    e = a // LAYOUT
    g = b % LAYOUT
    h = a & 3
    k = a >> 2
    return +c + (a == b) + d + e + g + h + k
