# SPDX-License-Identifier: GPL-2.0-only
"""Integers are true when not 0, handles when not None; pure conditions become one branch."""

from __future__ import annotations

from ptelab.lang import struct, u4


@struct
class Page:
    refs: u4


def f(a: u4, b: bool, p: Page | None) -> u4:
    if a & 1 and not b or p:
        return 1
    if not (a and b):
        return 2
    if not p:
        return 3
    elif 1 < a <= 5:
        return 4
    if a:
        if b:
            return 5
    return 6
