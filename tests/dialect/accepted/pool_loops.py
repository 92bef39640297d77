# SPDX-License-Identifier: GPL-2.0-only
"""A loop over a pool takes every element in order."""

from __future__ import annotations

from ptelab.lang import pool, struct, u4


@struct
class Page:
    refs: u4


def f() -> u4:
    total: u4 = 0
    for page in pool(Page):
        if page.refs == 0:
            continue
        total += page.refs
    return total
