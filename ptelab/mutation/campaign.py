# SPDX-License-Identifier: GPL-2.0-only
"""Try every mutant against the tests that execute its lines, smallest test first, until one catches it."""

from __future__ import annotations

import json
import multiprocessing
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path

from ptelab import checking
from ptelab.checking import Options
from ptelab.frontend import DialectError
from ptelab.layout import LayoutError
from ptelab.link import LinkError
from ptelab.litmus.resolve import Test
from ptelab.litmus.syntax import LitmusError
from ptelab.mutation.operators import Mutant, mutants
from ptelab.source import SourceError, Sources, bundled_model, owner

KILLED, SURVIVED, NOT_REACHED, NOT_COMPILED, LIMIT = "killed", "survived", "not reached", "not compiled", "limit"


@dataclass(frozen=True, slots=True)
class Run:
    """A test on one profile, and what it costs and executes on the model as it is."""

    test: Test
    arch: str
    states: int
    covered: frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a mutant: by which test on which profile it was killed, and how."""

    id: str
    what: str
    verdict: str
    by: str = ""
    how: str = ""
    tried: int = 0
    seconds: float = 0.0


def all_mutants(files: Sequence[str], operators: Sequence[str], model: Path | None = None) -> list[Mutant]:
    """The mutants of a model's kernel and file system; `files` are parts of paths, all files without any."""
    directory = model or bundled_model()
    found: list[Mutant] = []
    for path in [*sorted((directory / "linux").rglob("*.py")), directory / "filesystem.py"]:
        name = str(path.relative_to(directory))
        if not files or any(part in name for part in files):
            found += mutants(name, path.read_text(encoding="utf-8"), list(operators))
    return found


def measure(tests: Sequence[Test], arches: Sequence[str], options: Options) -> tuple[list[Run], list[str]]:
    """Run every test on the model as it is; those that are not ok can catch nothing, and are named."""
    runs, left_out = [], []
    for test in tests:
        for arch in arches:
            if not checking.skipped(test, arch):
                _, verdict = checking.check(test, replace(options, arch=arch, coverage=True))
                if verdict.status == "ok":
                    found = verdict.exploration
                    runs.append(Run(test, arch, found.states, frozenset(found.covered)))
                else:
                    left_out.append(f"{test.name} ({arch}): {verdict.status}")
    return sorted(runs, key=lambda r: r.states), left_out


def judge(mutant: Mutant, runs: Sequence[Run], options: Options) -> Judged:
    """Try a mutant until a test has another result or an unexpected flag; situations that go missing do not count."""
    started = time.monotonic()
    label = str(options.model) if options.model is not None else "model"
    lines = {(f"{label}/{mutant.path}", line) for line in mutant.lines}
    arch = owner(mutant.path)
    useful = [r for r in runs if r.covered & lines and (not arch or Sources(r.arch, options.model).arch == arch)]
    if not useful:
        return Judged(mutant.id, mutant.what, NOT_REACHED)
    limited = ""
    for tried, run in enumerate(useful, 1):
        try:
            trial = replace(options, arch=run.arch, edits=((mutant.path, mutant.text),))
            _, verdict = checking.check(run.test, trial)
        except (DialectError, LinkError, LayoutError, LitmusError, SourceError) as error:
            return Judged(mutant.id, mutant.what, NOT_COMPILED, how=str(error), tried=tried)
        how = [p for p in verdict.problems if not p.startswith("situation ")]
        how += [f"flag {f}" for f in sorted(verdict.exploration.flags)]
        if verdict.status == "failed" and any(not p.startswith("situation ") for p in verdict.problems):
            seconds = time.monotonic() - started
            return Judged(
                mutant.id, mutant.what, KILLED, f"{run.test.name} ({run.arch})", "; ".join(how), tried, seconds
            )
        if not verdict.exploration.complete:
            limited = f"{run.test.name} ({run.arch})"
    seconds = time.monotonic() - started
    if limited:
        return Judged(mutant.id, mutant.what, LIMIT, limited, "a test met its limit", len(useful), seconds)
    return Judged(mutant.id, mutant.what, SURVIVED, tried=len(useful), seconds=seconds)


def run(
    work: Sequence[Mutant], runs: Sequence[Run], options: Options, jobs: int, time_s: float,
    report: Callable[[Judged], None],
) -> None:  # fmt: skip
    """Judge mutants in processes of their own: one that never comes to an end is stopped after `time_s` seconds."""
    context = multiprocessing.get_context("fork")
    waiting = list(reversed(work))
    busy: list[tuple[Mutant, ForkProcess, Connection, float]] = []
    while waiting or busy:
        while waiting and len(busy) < jobs:
            mutant = waiting.pop()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(theirs, mutant, runs, options), daemon=True)
            process.start()
            theirs.close()
            busy.append((mutant, process, ours, time.monotonic() + time_s))
        wait([pipe for _, _, pipe, _ in busy], timeout=1)
        for entry in list(busy):
            mutant, process, pipe, deadline = entry
            if pipe.poll():
                report(_received(pipe, mutant))
            elif time.monotonic() > deadline:
                report(Judged(mutant.id, mutant.what, LIMIT, how=f"not judged within {time_s:g} s", seconds=time_s))
            else:
                continue
            process.kill()
            process.join()
            pipe.close()
            busy.remove(entry)


def _received(pipe: Connection, mutant: Mutant) -> Judged:
    try:
        found = pipe.recv()
    except EOFError:
        return Judged(mutant.id, mutant.what, LIMIT, how="the process that judged it died")
    assert isinstance(found, Judged)
    return found


def _child(pipe: Connection, mutant: Mutant, runs: Sequence[Run], options: Options) -> None:
    pipe.send(judge(mutant, runs, options))
    pipe.close()


# ------------------------------------------------------------------------------------------- what is kept


def read_state(path: Path | None) -> dict[str, Judged]:
    """The mutants that an earlier run has judged, from a file of JSON lines; one that was cut off is left out."""
    known: dict[str, Judged] = {}
    if path is not None and path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = Judged(**json.loads(line))
            except (ValueError, TypeError):
                continue
            known[entry.id] = entry
    return known


def write_state(path: Path, judged: Judged) -> None:
    """Add a judged mutant to the file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(judged)) + "\n")


def explanations(path: Path) -> dict[str, str]:
    """Why survivors survive: id → reason, from docs/survivors.toml."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        return {str(k): str(v) for k, v in tomllib.load(file).get("survivors", {}).items()}


def summary(judged: Sequence[Judged], reasons: dict[str, str]) -> Iterator[str]:
    """Counts, then every mutant that no test has killed."""
    counts: dict[str, int] = {}
    for j in judged:
        counts[j.verdict] = counts.get(j.verdict, 0) + 1
    yield f"{len(judged)} mutants: " + ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))
    for j in judged:
        if j.verdict in (SURVIVED, LIMIT):
            why = reasons.get(j.id, "")
            yield f"  {j.verdict}: {j.id}: {j.what}" + (f"\n      because {why}" if why else "")
