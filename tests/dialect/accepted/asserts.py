# SPDX-License-Identifier: GPL-2.0-only
"""An assert that fails raises a flag; what it reads is read lazily, as in a condition."""

from __future__ import annotations

from ptelab.lang import struct, u4


@struct
class Page:
    refs: u4
    next: Page | None


def f(p: Page | None) -> None:
    assert p is not None
    assert p.refs > 0 and p.next is None
    assert True
