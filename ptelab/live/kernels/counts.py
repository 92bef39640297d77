# SPDX-License-Identifier: GPL-2.0-only
"""Counts of events on other kernels: the scenarios of docs/live.md, on amd64."""

from __future__ import annotations

import re

from ptelab.live.counting import ADVICE, Counting, Counts, Statement, moved
from ptelab.live.kernels.guest import Block

FUNCTION = "filemap_map_pages"
_MEMORY = {"anonymous": "anonymous", "memfd": "memory", "disk": "disk"}
_PROT = {"r": 1, "rw": 3}
_FLUSH = re.compile(r"pages:(-?\d+) reason:.*\((\d+)\)")
_ON_TASK_SWITCH = 0


def unable(scenario: Counting) -> str:
    """Why a scenario cannot be counted under QEMU; empty if it can."""
    calls = {s.call for s in (*scenario.before, *scenario.counted)}
    if "msync" in calls:
        return "the machine has no disk"
    if any(s.call == "fork" for s in scenario.counted):
        return "what init has on its stack would be counted as well"
    return ""


def order(scenario: Counting) -> str:
    """What init has to do for a scenario, in lines."""
    sharing, prot = "shared" if scenario.shared else "private", "rw" if scenario.writable else "r"
    return "\n".join(
        [
            f"map {_MEMORY[scenario.memory]} {sharing} {prot} {scenario.pages} {scenario.offset}",
            *(_line(s) for s in scenario.before),
            "settle 0 0 1",
            "count 0 0 1",
            "trace 0 0 1",
            *(_line(s) for s in scenario.counted),
            "trace 0 0 0",
        ]
    )


def _line(s: Statement) -> str:
    argument = {"mprotect": _PROT.get(s.word, 0), "madvise": ADVICE.get(s.word, 0), "load": s.stride,
                "store": s.stride, "mremap": moved(s) if s.call == "mremap" else 0}  # fmt: skip
    return f"{s.call} 0 {s.first} {s.count} {argument.get(s.call, 0)}"


def counted(block: Block) -> Counts:
    """What was counted."""
    faults = next(int(rest) for kind, rest in block if kind == "faults")
    flushes = [match for kind, rest in block if kind == "flush" and (match := _FLUSH.match(rest))]
    return Counts(
        faults,
        sum(kind == "call" and rest == FUNCTION for kind, rest in block),
        tuple(int(match[1]) for match in flushes if int(match[2]) != _ON_TASK_SWITCH),
    )
