# SPDX-License-Identifier: GPL-2.0-only
"""wait_until reads one shared place, and own ones before it; a function that only returns is looked through."""

from __future__ import annotations

from ptelab.lang import READ_ONCE, percpu, struct, this_cpu, u4, wait_until


@struct
class Page:
    writeback: bool
    count: u4


@percpu
class Cpu:
    pending: bool
    page: Page


def busy(p: Page) -> bool:
    return READ_ONCE(p.writeback)


def f(p: Page, n: u4) -> None:
    wait_until(not busy(p))
    wait_until(p.count == n or this_cpu(Cpu).pending)
    wait_until(this_cpu(Cpu).page.count == 0)
