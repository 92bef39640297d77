# SPDX-License-Identifier: GPL-2.0-only
"""Selftests, built and run one after the other."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ptelab.live import keeper
from ptelab.live.kselftest import building, tap
from ptelab.live.kselftest.building import NotBuilt
from ptelab.live.kselftest.tap import Said

SECONDS = 120.0
"""A test that takes longer hangs: each ends within four seconds on a quiet machine."""

MERGING = ("ksm_functional_tests",)
"""Tests that take all pages apart which KSM has merged on this machine."""

_SHARED = Path("/sys/kernel/mm/ksm/pages_shared")


@dataclass(slots=True)
class Program:
    """What became of a test.  `skipped`: why it was not run; `broken`: why it has not run to its end."""

    name: str
    said: Said = field(default_factory=Said)
    skipped: str = ""
    broken: str = ""


def run(sources: Path, build: Path, name: str, unmerge: bool, seconds: float = SECONDS) -> Program:
    """Build a test in a directory of ours and run it there."""
    program = Program(name)
    if name in MERGING and not unmerge and merged():
        program.skipped = "it takes apart all that KSM has merged on this machine; --unmerge lets it"
        return program
    try:
        file = building.compiled(sources, name, build)
    except NotBuilt as error:
        program.skipped = str(error)
        return program
    result = _kept([str(file)], build, seconds)
    program.said = tap.read((build / "out").read_text(encoding="utf-8", errors="replace"))
    program.broken = _broken(result, program.said, build)
    if not program.broken and not program.said.cases:
        program.skipped = program.said.why or "it has run no case"
    return program


def merged() -> bool:
    """Whether KSM has merged pages that are not ours."""
    try:
        return int(_SHARED.read_text(encoding="ascii")) > 0
    except (OSError, ValueError):
        return False


def _kept(argv: Sequence[str], directory: Path, seconds: float) -> dict[str, object]:
    process = keeper.start({"argv": list(argv), "directory": str(directory), "seconds": seconds})
    assert process.stdout is not None
    try:
        said = process.stdout.read()
    finally:
        keeper.end(process)
    result: dict[str, object] = json.loads(said) if said else {}
    return result


# Why a test has not run to its end; empty when it has.
def _broken(result: dict[str, object], said: Said, build: Path) -> str:
    refused = result.get("refused")
    if refused:
        return f"not as it was before: {', '.join(map(str, refused if isinstance(refused, list) else []))}"
    status = result.get("status")
    words = (build / "err").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = f": {words[-1]}" if words else ""
    if status is None:
        return f"it did not come to an end{last}"
    if isinstance(status, int) and status < 0:
        return f"it was ended by {signal.Signals(-status).name} after {len(said.cases)} cases{last}"
    if said.cases and said.missing:
        return f"{said.missing} of its {said.plan} cases are missing{': ' + said.why if said.why else last}"
    return ""
