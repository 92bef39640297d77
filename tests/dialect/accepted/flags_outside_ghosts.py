# SPDX-License-Identifier: GPL-2.0-only
# path: hw/x86.py
"""Hardware, stubs and user code may flag and reach."""

from __future__ import annotations

from ptelab.lang import flag, reach, struct


@struct
class Page:
    freed: bool


def walk(p: Page) -> None:
    if p.freed:
        flag("use_after_free", page=p)
    reach("walked")
