# SPDX-License-Identifier: GPL-2.0-only
"""Try every mutant against the tests that execute its lines, the cheapest first, until one catches it."""

from __future__ import annotations

import ast
import hashlib
import json
import multiprocessing
import os
import re
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from ptelab import bundled, checking
from ptelab.checking import Options
from ptelab.frontend import DialectError
from ptelab.layout import LayoutError
from ptelab.link import LinkError
from ptelab.litmus.profiles import covers
from ptelab.litmus.resolve import Test
from ptelab.litmus.syntax import LitmusError
from ptelab.mutation.operators import mutants
from ptelab.mutation.shapes import Mutant
from ptelab.source import SourceError, Sources, Text, arch_directory, bundled_model, owner

KILLED, SURVIVED, NOT_REACHED, NOT_COMPILED, LIMIT = "killed", "survived", "not reached", "not compiled", "limit"


@dataclass(frozen=True, slots=True)
class Run:
    """A test on one profile, and what it costs and executes on the model as it is."""

    test: Test
    arch: str
    states: int
    seconds: float
    covered: frozenset[tuple[str, int]]

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"{self.test.name} ({self.arch})"


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a mutant: by which test on which profile it was killed, and how; else which tests it passed.

    `change` says which change was judged: a mutant of the same id may be another one when the model has changed.
    """

    id: str
    what: str
    verdict: str
    by: str = ""
    how: str = ""
    change: str = ""
    passed: tuple[str, ...] = ()
    limited: tuple[str, ...] = ()
    executed_by: int = 0
    seconds: float = 0.0

    @property
    def final(self) -> bool:
        """Whether more tests can change nothing."""
        return self.verdict in (KILLED, NOT_COMPILED)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is tried: seconds for each test and each mutant, and tests for each mutant and profile."""

    options: Options
    test_s: float = 20
    mutant_s: float = 300
    most: int | None = None


def all_mutants(files: Sequence[str], operators: Sequence[str], model: Path | None = None) -> list[Mutant]:
    """The mutants of a model's kernel and file system; `files` are parts of paths, all files without any."""
    directory = model or bundled_model()
    found: list[Mutant] = []
    for path in [*sorted((directory / "linux").rglob("*.py")), directory / "filesystem.py"]:
        name = str(path.relative_to(directory))
        if not files or any(part in name for part in files):
            found += mutants(name, path.read_text(encoding="utf-8"), list(operators))
    return found


def change(mutant: Mutant) -> str:
    """What a mutant changes, in a few letters: they stay the same while its function does."""
    return hashlib.sha256(f"{mutant.changed()}\n{mutant.what}".encode()).hexdigest()[:16]


def measure(
    tests: Sequence[Test], arches: Sequence[str], options: Options, state: Path | None = None
) -> tuple[list[Run], list[str]]:
    """Run every test on the model as it is; those that are not ok can catch nothing, and are named.

    What `state` knows of the same model is not run again.
    """
    runs, left_out = [], []
    model = _digest(options.model or bundled_model())
    known = {(m["test"], m["arch"]): m for m in _lines(state) if m.get("model") == model}
    for arch in arches:
        for test in tests:
            if checking.skipped(test, arch):
                continue
            text = _short(Path(test.litmus.file).read_bytes())
            entry = known.get((test.name, arch))
            if entry is None or entry["text"] != text:
                started = time.monotonic()
                _, verdict = checking.check(test, replace(options, arch=arch, coverage=True))
                found = verdict.exploration
                files: dict[str, list[int]] = {}
                for path, line in sorted(found.covered):
                    files.setdefault(path, []).append(line)
                entry = {
                    "model": model, "test": test.name, "arch": arch, "text": text, "status": verdict.status,
                    "states": found.states, "seconds": round(time.monotonic() - started, 2), "covered": files,
                }  # fmt: skip
                _append(state, entry)
            if entry["status"] == "ok":
                covered = frozenset((path, n) for path, lines in entry["covered"].items() for n in lines)
                runs.append(Run(test, arch, entry["states"], entry["seconds"], covered))
            else:
                left_out.append(f"{test.name} ({arch}): {entry['status']}")
    return runs, left_out


def _digest(model: Path) -> str:
    return _short(b"".join(p.read_bytes() for p in sorted(model.rglob("*.py"))))


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def useful(mutant: Mutant, runs: Sequence[Run], model: Path | None) -> list[Run]:
    """The runs that execute a line that a mutant changes; no other can notice it.

    A look at variables only is no step, and nobody notes it: who executes what stands in it or beside it counts.
    """
    label = str(model) if model is not None else "model"
    arch = owner(mutant.path)
    runs = [r for r in runs if not arch or Sources(r.arch, model).arch == arch]
    for numbers in (mutant.lines, mutant.beside()):
        lines = {(f"{label}/{mutant.path}", line) for line in numbers}
        found = [r for r in runs if r.covered & lines]
        if found:
            break
    return found


def ordered(mutant: Mutant, runs: Sequence[Run], kills: Kills, hint: str) -> list[Run]:
    """Cheap runs first, one profile after the other; before all what caught other changes of the same function.

    What has a word of the function in its name may cost more than what has not.
    """
    place = (mutant.path, mutant.function)
    words = [w for w in mutant.function.split("_") if len(w) > 2]
    profiles = list(dict.fromkeys(r.arch for r in runs))

    def key(r: Run) -> tuple[int, int, float]:
        here = kills[(*place, r.name)]
        named = sum(word in r.test.name for word in words)
        worth = 1 + 8 * here + 4 * kills[(mutant.path, "", r.name)] + 4 * named + kills[("", "", r.name)]
        return (0 if r.name == hint else 1, 0 if here else 1 + profiles.index(r.arch), r.seconds / worth)

    return sorted(runs, key=key)


Kills = Counter[tuple[str, str, str]]
"""How many mutants each test has killed, by file and function, by file, and in all."""


def judge(mutant: Mutant, runs: Sequence[Run], plan: Plan, before: Judged | None = None) -> Judged:
    """Try a mutant until a test has another result or an unexpected flag; situations that go missing do not count.

    `before` is what an earlier trial of the same change found: what it has passed is not tried again.
    """
    started = time.monotonic()
    passed = list(before.passed) if before else []
    limited = list(before.limited) if before else []
    executed_by = max(len(runs), before.executed_by if before else 0)  # a run may be of some tests only
    found = Judged(mutant.id, mutant.what, NOT_REACHED, change=change(mutant), executed_by=executed_by)
    tried = Counter(r.arch for r in runs if r.name in passed or r.name in limited)
    for run in runs:
        if run.name in passed or run.name in limited or (plan.most is not None and tried[run.arch] >= plan.most):
            continue
        if time.monotonic() - started > plan.mutant_s:
            break
        tried[run.arch] += 1
        trial = replace(
            plan.options, arch=run.arch, edits=((mutant.path, mutant.text),), time_s=plan.test_s, stop_at_flag=True
        )
        try:
            _, verdict = checking.check(run.test, trial)
        except (DialectError, LinkError, LayoutError, LitmusError, SourceError) as error:
            return replace(found, verdict=NOT_COMPILED, how=str(error))
        how = [p for p in verdict.problems if not p.startswith(("situation ", "stopped at a limit", "result Unknown"))]
        if verdict.status == "failed" and how:
            return replace(found, verdict=KILLED, by=run.name, how="; ".join(how), seconds=time.monotonic() - started)
        (passed if verdict.exploration.complete else limited).append(run.name)
    verdict_ = SURVIVED if passed else LIMIT if limited else NOT_REACHED
    if runs and verdict_ == NOT_REACHED:
        verdict_ = LIMIT
    return replace(
        found, verdict=verdict_, passed=tuple(passed), limited=tuple(limited), seconds=time.monotonic() - started
    )


def run(
    work: Sequence[Mutant], runs: Sequence[Run], plan: Plan, jobs: int, known: Mapping[str, Judged],
    report: Callable[[Judged], None],
) -> None:  # fmt: skip
    """Judge mutants in processes of their own: one that never comes to an end is stopped.

    Those of an architecture that is not tested stay as they are.
    """
    context = multiprocessing.get_context("fork")
    arches = {arch_directory(r.arch) for r in runs}
    waiting = [m for m in reversed(work) if not owner(m.path) or owner(m.path) in arches]
    _warm_up(runs, plan)
    kills = catchers(runs, plan.options.model)
    places = {m.id: m for m in work}
    for judged in known.values():
        _count(kills, judged, places.get(judged.id))
    busy: list[tuple[Mutant, ForkProcess, Connection, float]] = []
    while waiting or busy:
        while waiting and len(busy) < jobs:
            mutant = waiting.pop()
            before = known.get(mutant.id)
            hint = before.by if before is not None else ""
            if before is not None and before.change != change(mutant):
                before = None
            mine = ordered(mutant, useful(mutant, runs, plan.options.model), kills, hint)
            if not mine and before is not None:
                continue
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(theirs, mutant, mine, plan, before), daemon=True)
            process.start()
            theirs.close()
            busy.append((mutant, process, ours, time.monotonic() + plan.mutant_s + 2 * plan.test_s))
        wait([pipe for _, _, pipe, _ in busy], timeout=1)
        for entry in list(busy):
            mutant, process, pipe, deadline = entry
            if pipe.poll():
                judged = _received(pipe, mutant)
                _count(kills, judged, mutant)
                report(judged)
            elif time.monotonic() > deadline:
                report(Judged(mutant.id, mutant.what, LIMIT, how="a test does not come to an end"))
            else:
                continue
            process.kill()
            process.join()
            pipe.close()
            busy.remove(entry)


def _warm_up(runs: Sequence[Run], plan: Plan) -> None:
    """Check the cheapest test of each profile, so that the children need not lower again what a mutant leaves alone."""
    cheapest = {r.arch: r for r in sorted(runs, key=lambda r: r.seconds, reverse=True)}
    for arch, run in cheapest.items():
        checking.check(run.test, replace(plan.options, arch=arch))


def catchers(runs: Sequence[Run], model: Path | None) -> Kills:
    """What is known before: tests that catch a bundled patch, by the functions that the patch changes."""
    kills: Kills = Counter()
    places = {id_: _patched(patch.path, model) for id_, patch in bundled.patches().items()}
    for run in runs:
        for claim in run.test.patches:
            if covers(claim.arches, run.arch) and claim.result != run.test.on(run.arch).expected:
                for path, function in places.get(claim.id, ()):
                    kills[(path, function, run.name)] += 1
                    kills[(path, "", run.name)] += 1
    return kills


def _patched(patch: Path, model: Path | None) -> set[tuple[str, str]]:
    paths = set(re.findall(r"^\+\+\+ (?:b/)?(?:model/)?(\S+\.py)", patch.read_text(encoding="utf-8"), re.MULTILINE))
    try:
        texts = [Sources("x86_64", model), Sources("x86_64", model, patches=(patch,))]
        found = [{(path, *f) for path in paths for f in _functions(texts[i].read(path))} for i in (0, 1)]
    except (SourceError, SyntaxError):
        return set()
    return {(path, name) for path, name, _ in found[0] ^ found[1]}


def _functions(text: Text | None) -> set[tuple[str, str]]:
    tree = ast.parse(text.text) if text is not None else ast.Module([], [])
    return {(n.name, ast.dump(n)) for n in tree.body if isinstance(n, ast.FunctionDef)}


def _count(kills: Kills, judged: Judged, mutant: Mutant | None) -> None:
    if judged.verdict == KILLED and mutant is not None:
        for place in ((mutant.path, mutant.function), (mutant.path, ""), ("", "")):
            kills[(*place, judged.by)] += 1


def _received(pipe: Connection, mutant: Mutant) -> Judged:
    try:
        found = pipe.recv()
    except EOFError:
        return Judged(mutant.id, mutant.what, LIMIT, how="the process that judged it died")
    assert isinstance(found, Judged)
    return found


def _child(pipe: Connection, mutant: Mutant, runs: Sequence[Run], plan: Plan, before: Judged | None) -> None:
    os.environ["PTELAB_CACHE"] = ""  # a mutant's code is never needed again
    pipe.send(judge(mutant, runs, plan, before))
    pipe.close()


# ------------------------------------------------------------------------------------------- what is kept


def _lines(path: Path | None) -> Iterator[dict[str, Any]]:
    if path is not None and path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # it was cut off
            if isinstance(entry, dict):
                yield entry


def _append(path: Path | None, entry: dict[str, Any]) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def read_state(path: Path | None) -> dict[str, Judged]:
    """The mutants that an earlier run has judged, from a file of JSON lines; one that was cut off is left out."""
    known: dict[str, Judged] = {}
    for line in _lines(path):
        if "verdict" in line:
            try:
                entry = Judged(**line | {name: tuple(line.get(name, ())) for name in ("passed", "limited")})
            except TypeError:
                continue
            known[entry.id] = entry
    return known


def write_state(path: Path, judged: Judged) -> None:
    """Add a judged mutant to the file."""
    _append(path, asdict(judged))


def explanations(path: Path) -> dict[str, str]:
    """Why survivors survive: id → reason, from docs/survivors.toml."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        return {id_: str(s["because"]) for s in tomllib.load(file).get("survivors", []) for id_ in s["mutants"]}


def summary(judged: Sequence[Judged], reasons: dict[str, str]) -> Iterator[str]:
    """Counts, then every mutant that no test has killed."""
    counts = Counter(j.verdict for j in judged)
    yield f"{len(judged)} mutants: " + ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))
    for j in judged:
        if j.verdict in (SURVIVED, LIMIT):
            why = reasons.get(j.id, "")
            yield f"  {j.verdict}: {j.id}: {j.what}" + (f"\n      because {why}" if why else "")
