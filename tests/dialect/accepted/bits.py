# SPDX-License-Identifier: GPL-2.0-only
"""One bool member is one flag of a word."""

from __future__ import annotations

from ptelab.lang import clear_bit, set_bit, struct, test_and_clear_bit, test_and_set_bit


@struct
class Page:
    locked: bool


def f(p: Page) -> bool:
    set_bit(p.locked)
    clear_bit(p.locked)
    if test_and_set_bit(p.locked):
        return test_and_clear_bit(p.locked)
    test_and_set_bit(p.locked)
    return False
