# SPDX-License-Identifier: GPL-2.0-only
"""Statements after a return, and sides that constants exclude, are checked and left out."""

from __future__ import annotations

from ptelab.lang import struct, u4

DEBUG = False


@struct
class Page:
    refs: u4


def f(p: Page) -> u4:
    if DEBUG:
        p.refs = 3
    while not DEBUG:
        return p.refs
        p.refs = 4
    return 0
