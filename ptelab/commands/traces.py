# SPDX-License-Identifier: GPL-2.0-only
"""A run of a test, shown or written to a file: what only a command needs that has one to show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ptelab import lanes, trace
from ptelab.commands.shared import BadInput
from ptelab.litmus.build import Built
from ptelab.machine import Machine


def text_trace(built: Built, choices: Sequence[tuple[int, int]], everything: bool = False) -> str:
    """The run as a text with a column for each CPU."""
    return lanes.render(trace.record(Machine(built.scenario), choices), everything)


def write_trace(path: Path, built: Built, choices: Sequence[tuple[int, int]]) -> None:
    """Write the run to a file; as JSON when that is how its name ends."""
    recorded = trace.record(Machine(built.scenario), choices)
    as_json = path.suffix == ".json"
    text = json.dumps(trace.to_json(recorded), indent=1, ensure_ascii=False) if as_json else lanes.render(recorded)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from error
