# SPDX-License-Identifier: GPL-2.0-only
"""Which litmus test asks what a case of a selftest asks: live/kselftest/twins.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptelab.litmus.resolve import RESULTS
from ptelab.live.kselftest.tap import Case
from ptelab.source import SourceError

_KEYS = {"cases", "twin", "ok", "arch", "none", "note"}


@dataclass(frozen=True, slots=True)
class Row:
    """Cases whose names match one of `cases`, and their twin; or in `none`, why there is none."""

    cases: Sequence[re.Pattern[str]]
    twin: str = ""
    ok: str = ""  # the twin's result when the kernel is as it should be
    arch: str = ""  # of the model; else that of the machine
    none: str = ""
    note: str = ""  # in what the twin differs

    def covers(self, case: Case) -> bool:
        """Whether this row is about a case."""
        return any(pattern.search(case.words) for pattern in self.cases)


Table = Mapping[str, Sequence[Row]]
"""The rows for each program, the first that covers a case counts."""


def read(path: Path) -> Table:
    """Read a table.  Raises SourceError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: {error}") from error
    return {program: [_row(path, program, entry) for entry in entries] for program, entries in content.items()}


def _row(path: Path, program: str, entry: Mapping[str, Any]) -> Row:
    where = f"{path}: {program}"
    if unknown := sorted(set(entry) - _KEYS):
        raise SourceError(f"{where}: no key is called {unknown[0]!r}; write one of {', '.join(sorted(_KEYS))} instead")
    if not entry.get("cases") or ("none" in entry) == ("twin" in entry):
        raise SourceError(f"{where}: a row needs cases, and either twin or none")
    if "twin" in entry and entry.get("ok") not in RESULTS:
        raise SourceError(f"{where}: {entry['twin']} needs ok, one of {', '.join(RESULTS)}")
    try:
        patterns = [re.compile(pattern) for pattern in entry["cases"]]
    except re.error as error:
        raise SourceError(f"{where}: {error.pattern!r}: {error}") from error
    return Row(patterns, *(entry.get(key, "") for key in ("twin", "ok", "arch", "none", "note")))


def find(rows: Sequence[Row], case: Case) -> Row | None:
    """The row for a case."""
    return next((row for row in rows if row.covers(case)), None)
