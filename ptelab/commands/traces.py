# SPDX-License-Identifier: GPL-2.0-only
"""A run of a test, shown or written to a file: what only a command needs that has one to show."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path

from ptelab import lanes, trace
from ptelab.commands.shared import BadInput
from ptelab.litmus.build import Built
from ptelab.machine import Machine


def text_trace(built: Built, choices: Sequence[tuple[int, int]], everything: bool = False) -> str:
    """The run as a text with a column for each CPU."""
    return _text(built, trace.record(Machine(built.scenario), choices), everything)


def write_trace(path: Path, built: Built, choices: Sequence[tuple[int, int]]) -> None:
    """Write the run to a file; as JSON when that is how its name ends."""
    recorded = trace.record(Machine(built.scenario), choices)
    as_json = path.suffix == ".json"
    text = json.dumps(trace.to_json(recorded), indent=1, ensure_ascii=False) if as_json else _text(built, recorded)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from error


def _text(built: Built, recorded: trace.Trace, everything: bool = False) -> str:
    return lanes.render(recorded, everything, _meaning(built, recorded) if recorded.flag is not None else "")


# What the invariant says that raised the flag: the beginning of its docstring; or the assertion, which is the whole of
# it.  Flags of the machine say why.
def _meaning(built: Built, recorded: trace.Trace) -> str:
    assert recorded.flag is not None
    at = recorded.flag.at
    text = next((t for t in built.sources.texts() if t.name == at.file), None)
    if text is None:
        return ""
    if not text.path.startswith("invariants/"):
        line = text.text.splitlines()[at.line - 1].strip()
        return line if line.startswith("assert ") and not recorded.flag.why else ""
    for node in ast.parse(text.text).body:
        if isinstance(node, ast.FunctionDef) and node.lineno <= at.line <= (node.end_lineno or 0):
            return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
    return ""
