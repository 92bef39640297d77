# SPDX-License-Identifier: GPL-2.0-only
"""The middle value of a chain is evaluated once."""

from __future__ import annotations

from ptelab.lang import struct, u4


@struct
class Page:
    refs: u4


def f(p: Page, low: u4, high: u4) -> bool:
    return low <= p.refs < high != 3
