# SPDX-License-Identifier: GPL-2.0-only
"""docs/mutants.md: what became of every mutant, by which test, or why no test can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from ptelab.mutation.campaign import KILLED, LIMIT, NOT_COMPILED, NOT_REACHED, SURVIVED, Judged
from ptelab.mutation.operators import OPERATORS
from ptelab.mutation.shapes import Mutant

_HEAD = """<!-- SPDX-License-Identifier: GPL-2.0-only -->
# Which flush, lock, recheck or bit is needed, and which test says so

Written by `ptelab mutate --table`. Each row is the model with one change after a pattern of real bugs (docs/tools.md).
A mutant is killed when a bundled test that executes the changed line has another result or raises a flag; the first
test that did is named, which need not be the only one. A survivor is followed by the number of tests that executed the
line and passed all the same, and by the reason that docs/survivors.toml gives; without one nobody has found out yet
whether a test is missing. That goes for lines that no test reaches, too. Mutants that were not tried are counted only.
A verdict that is no kill holds for the tests that were tried, which need not be all."""


def rows(mutants: Sequence[Mutant], judged: Mapping[str, Judged], reasons: Mapping[str, str]) -> Iterator[str]:
    """The lines of the document."""
    yield _HEAD
    yield ""
    yield from _counts(mutants, judged, reasons)
    tried = [m for m in mutants if m.id in judged]
    for path, group in groupby(tried, key=lambda m: m.path):
        yield ""
        yield f"## {path}"
        yield ""
        yield "| function | change | caught by |"
        yield "| --- | --- | --- |"
        for mutant in group:
            verdict = _verdict(judged[mutant.id], reasons.get(mutant.id, ""))
            yield f"| `{mutant.function}` | {mutant.operator}: {_cell(mutant.what)} | {_cell(verdict)} |"


def _counts(mutants: Sequence[Mutant], judged: Mapping[str, Judged], reasons: Mapping[str, str]) -> Iterator[str]:
    verdicts = (KILLED, SURVIVED, "not explained", LIMIT, NOT_REACHED, NOT_COMPILED, "not tried")
    yield "| operator | patterns | mutants | " + " | ".join(verdicts) + " |"
    yield "| --- | --- |" + " ---: |" * (1 + len(verdicts))
    total: Counter[str] = Counter()
    for name, (patterns, _) in OPERATORS.items():
        mine = [m for m in mutants if m.operator == name]
        counts = Counter(judged[m.id].verdict for m in mine if m.id in judged)
        counts["not explained"] = sum(
            judged[m.id].verdict in (SURVIVED, NOT_REACHED) and m.id not in reasons for m in mine if m.id in judged
        )
        counts["not tried"] = sum(m.id not in judged for m in mine)
        counts["all"] = len(mine)
        total += counts
        yield f"| {name} | {patterns} | {len(mine)} | " + " | ".join(str(counts[v]) for v in verdicts) + " |"
    yield f"| all | | {total['all']} | " + " | ".join(str(total[v]) for v in verdicts) + " |"


def _verdict(judged: Judged, reason: str) -> str:
    match judged.verdict:
        case verdict if verdict == KILLED:
            return f"`{judged.by}`: {_short(judged.how)}"
        case verdict if verdict == SURVIVED:
            passed = f"survived {len(judged.passed)} of {judged.executed_by} tests"
            return f"{passed}: {reason}" if reason else passed
        case verdict if verdict == NOT_COMPILED:
            return "not compiled: the change is no sentence of the dialect"
        case verdict:
            return f"{verdict}: {reason}" if reason else verdict


def _short(how: str) -> str:
    words = how.replace(" is raised and the condition does not name it", "")
    return "; ".join(dict.fromkeys(words.split("; ")))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
