# SPDX-License-Identifier: GPL-2.0-only
"""Counts of events on other kernels: the scenarios of docs/live.md, on amd64."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ptelab.live.counting import ADVICE, Counting, Counts, Statement, moved
from ptelab.live.kernels.guest import Broken

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


def script(scenarios: Sequence[Counting]) -> str:
    """What init is told."""
    return "\n\n".join([f" {FUNCTION} ", *(_block(s) for s in scenarios)]) + "\n"


def _block(scenario: Counting) -> str:
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


def results(lines: Sequence[tuple[str, str]], scenarios: Sequence[Counting]) -> dict[str, Counts]:
    """What was counted.  Raises Broken."""
    blocks: list[list[tuple[str, str]]] = [[]]
    for kind, rest in lines:
        if kind == "problem":
            raise Broken(rest)
        if kind == "scenario":
            blocks.append([])
        else:
            blocks[-1].append((kind, rest))
    if len(blocks) != len(scenarios) + 1:
        raise Broken(f"{len(blocks) - 1} scenarios of {len(scenarios)} were performed")
    return {s.name: _counts(s, block) for s, block in zip(scenarios, blocks[1:], strict=True)}


def _counts(scenario: Counting, block: list[tuple[str, str]]) -> Counts:
    end = next((i for i, (kind, _) in enumerate(block) if kind == "lines"), None)
    if end is None or int(block[end][1]) != end:
        raise Broken(f"scenario {scenario.name} lost lines of what it printed")
    faults = next(int(rest) for kind, rest in block if kind == "faults")
    flushes = []
    for kind, rest in block[:end]:
        if kind == "flush" and (match := _FLUSH.match(rest)) and int(match[2]) != _ON_TASK_SWITCH:
            flushes.append(int(match[1]))
    return Counts(faults, sum(kind == "call" and rest == FUNCTION for kind, rest in block[:end]), tuple(flushes))
