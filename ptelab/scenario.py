# SPDX-License-Identifier: GPL-2.0-only
"""What is explored: a module, sizes for its layout, the threads, and how the initial and the final states are read."""

from __future__ import annotations

from dataclasses import dataclass, field

from ptelab import ir


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread: a litmus column, a kernel thread (both programs) or a hardware actor (a daemon)."""

    name: str  # P0, P1, … or what the hardware actor is, with its CPU: "walker0", "irq1"
    root: str  # the function that it runs, without parameters
    cpu: int
    daemon: bool = False  # runs for ever; the run may be over while it rests


@dataclass(slots=True)
class Scenario:
    """A closed system.  `setup` is run alone first; `final`, a ghost function, judges each quiescent state.

    The results of `final` are the outcome; their labels are `observed`.
    """

    name: str
    module: ir.Module
    params: dict[str, int]
    threads: tuple[Thread, ...]
    setup: str = "setup"
    final: str = "final"
    observed: tuple[str, ...] = ()
    symbols: dict[str, dict[int, str]] = field(default_factory=dict)  # struct, or "addr" → element → name in the test
    reductions: frozenset[str] = field(default_factory=frozenset)  # names in `reduce.REDUCTIONS`
