# SPDX-License-Identifier: GPL-2.0-only
# path: setup.py
"""Functions in setup.py write ghosts and other CPUs' objects."""

from __future__ import annotations

from ptelab.lang import Ghost, per_cpu, percpu, struct, u2, u4


@struct
class Page:
    refs: u4
    seen: Ghost[bool]


@percpu
class Tlb:
    valid: bool


def setup_tlb(cpu: u2, p: Page) -> None:
    per_cpu(Tlb, cpu).valid = True
    p.seen = True
