# SPDX-License-Identifier: GPL-2.0-only
"""A conditional expression with a constant side is a condition like any other."""

from __future__ import annotations

from ptelab.lang import struct


@struct
class Page:
    locked: bool


def f(p: Page, a: bool, b: bool) -> bool:
    if True if a else b:
        return False
    return (False if a else b) or p.locked
