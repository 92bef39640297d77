# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's side of a scenario: what init (init.c) is told, and what it prints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ptelab.live.kernels.model import processes
from ptelab.live.kernels.observed import WHEN, Collector, Observed
from ptelab.live.kernels.scenarios import PARENT, Scenario, Statement

_ZERO_PAGE, _REFERENCED = 1 << 24, 1 << 2  # of /proc/kpageflags


class Broken(Exception):
    """The machine did not come to the end of what it was told: no result."""


def script(orders: Sequence[str], functions: Sequence[str]) -> str:
    """What init reads: the functions to trace, then what it has to do for each scenario."""
    return "\n\n".join([f" {' '.join(functions)} ", *orders]) + "\n"


def order(scenario: Scenario) -> str:
    """What init has to do for a scenario, in lines."""
    sharing, prot = "shared" if scenario.shared else "private", "rw" if scenario.writable else "r"
    lines = [f"map {scenario.memory} {sharing} {prot} {scenario.pages} {scenario.offset}"]
    lines += [_line(s) for s in scenario.before]
    there = processes(scenario.before)
    lines += [f"look {p} 0 0" for p in there]
    lines += [f"{call} {p} 0 1" for p in there for call in ("settle", "count")]
    traced = next((s.who for s in scenario.counted), PARENT) if scenario.functions else None
    if traced is not None:
        lines += [f"trace {traced} 0 1"]
    lines += [_line(s) for s in scenario.counted]
    there = processes(scenario.statements)
    lines += [f"count {p} 0 0" for p in there]
    if traced in there:
        lines += [f"trace {traced} 0 0"]
    return "\n".join([*lines, *(f"look {p} 0 1" for p in there)])


def _line(s: Statement) -> str:
    return f"{s.call} {s.who} {s.first} {s.count} {s.argument}"


_SAID = re.compile(r"@@ (\w+) ?(.*?)\r?$")


def said(console: str) -> list[tuple[str, str]]:
    """The lines that init printed, each as its first word and the rest.  Raises Broken when it did not end."""
    lines = [(m[1], m[2]) for line in console.splitlines() if (m := _SAID.search(line))]
    if not lines or lines[0][0] != "begin":
        raise Broken("the kernel has not begun init")
    if lines[-1][0] != "end":
        raise Broken(f"the kernel has stopped behind “{lines[-1][0]} {lines[-1][1]}”")
    return lines


Block: TypeAlias = list[tuple[str, str]]


def blocks(lines: Sequence[tuple[str, str]], names: Sequence[str]) -> list[Block]:
    """What was said of each of some scenarios, in their order.  Raises Broken when anything of it is missing."""
    found: list[Block] = [[]]
    for kind, rest in lines:
        if kind == "problem":
            raise Broken(rest)
        if kind == "scenario":
            found.append([])
        else:
            found[-1].append((kind, rest))
    if len(found) != len(names) + 1:
        raise Broken(f"{len(found) - 1} scenarios of {len(names)} were performed")
    for name, block in zip(names, found[1:], strict=True):
        end = next((i for i, (kind, _) in enumerate(block) if kind == "lines"), None)
        if end is None or int(block[end][1]) != end:
            raise Broken(f"scenario {name} lost lines of what it printed")
        del block[end:]
    return found[1:]


def version_of(lines: Sequence[tuple[str, str]]) -> tuple[int, int]:
    """Which kernel it is.  Raises Broken."""
    match = next((re.match(r"(\d+)\.(\d+)", rest) for kind, rest in lines if kind == "kernel"), None)
    if match is None:
        raise Broken("the kernel has not said its version")
    return int(match[1]), int(match[2])


def functions_of(lines: Sequence[tuple[str, str]]) -> set[str]:
    """The functions that can be traced of those that were asked for."""
    return {rest for kind, rest in lines if kind == "function"}


def calls(found: Sequence[str], functions: Sequence[str]) -> tuple[str, ...]:
    """Those of some functions.  What tlb_finish_mmu calls first is inlined in some kernels: it is left out."""
    asked = [f for f in found if f in functions]
    return tuple(
        f for i, f in enumerate(asked) if not (i and f == "tlb_flush_mmu" and asked[i - 1] == "tlb_finish_mmu")
    )


def observed(scenario: Scenario, block: Block, names: Mapping[str, str]) -> Observed:
    """What a scenario shows; `names` gives the model's names of functions.  Raises Broken."""
    collector = Collector()
    faults = 0
    calls: list[str] = []
    for kind, rest in block:
        words = rest.split()
        match kind:
            case "page":
                when, process, page, frame, mapcount, flags = words
                zero, referenced = (bool(int(flags, 16) & flag) for flag in (_ZERO_PAGE, _REFERENCED))
                collector.page(when, int(process), int(page), int(frame, 16), int(mapcount), zero, referenced)
            case "young":
                assert words[0] in WHEN
                collector.process(words[0], int(words[1]), int(words[2]))
            case "faults":
                faults = int(rest)
            case "call":
                if rest in names:
                    calls.append(names[rest])
            case "flush":
                pass
            case _:
                raise Broken(f"scenario {scenario.name} printed “{kind} {rest}”")
    return collector.observed(faults, tuple(calls))
