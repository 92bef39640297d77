# SPDX-License-Identifier: GPL-2.0-only
"""What each reduction is worth, and that none changes an answer.

python bench/reductions.py compare [--jobs N] [--first] [--time S] [--memory MB] [--kept FILE] [TEST…]: every bundled
test on every profile that it names (--first: on the first), or those given, with each reduction off by itself and with
all of them off.  Results, flags, outcomes and situations must be the same; runs that meet a limit are counted and say
nothing.  FILE keeps each comparison, so that an interrupted run goes on where it was.  Exit status: 0 all the same,
1 some are not.

python bench/reductions.py table --work DIR [--write docs/reductions.md]: the largest tests with all reductions, with
none, with each off, and SPIN with its own partial order reduction on the exported model.  DIR keeps each result, so
that an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ptelab import beside, bundled, checking, programs, reduce
from ptelab.checking import Options
from ptelab.commands.export import LANGUAGES, plan_of
from ptelab.exploration import Exploration
from ptelab.litmus import build
from ptelab.scenario import Scenario

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import peers  # noqa: E402  # found from the root

EVERY = frozenset(reduce.REDUCTIONS)
SETS = {"all": EVERY, **{f"without {name}": EVERY - {name} for name in reduce.REDUCTIONS}, "none": frozenset[str]()}
CANDIDATES = 14  # of which the ten largest are shown: what `.expected` says may be older
SHOWN = 10
SPIN_MB, SPIN_S = 1100, 170
HEAD = (
    "Made by `python bench/reductions.py table`: distinct states of the largest bundled tests, each on the profile",
    "where it is largest, and of two-phase commit, with all reductions, without each, and with none, *local* included.",
    "The last column is SPIN with its own partial order reduction on the exported model, without ours.",
)
CLASSIC = "two_phase_commit:nr_Manager=8"


# --------------------------------------------------------------------------------------------- compare


def explore(test: str, arch: str, names: frozenset[str], options: Options) -> Exploration:
    """A bundled test, or PROGRAM:PARAMETER=N, under some reductions."""
    return checking.explore_scenario(scenario(test, arch, names), options)


def scenario(test: str, arch: str, names: frozenset[str]) -> Scenario:
    """The same as a scenario."""
    if ":" in test:
        program, _, value = test.partition(":")
        name, _, number = value.partition("=")
        return programs.read(ROOT / "bench" / f"{program}.py", {name: int(number)}, names)
    litmus = build.read(bundled.directory("litmus") / f"{test}.litmus")
    return checking.prepare(litmus.on(arch), Options(arch=arch, reduce=True, without=EVERY - names)).scenario


def answer(found: Exploration) -> tuple[object, ...]:
    """What no reduction may change."""
    return set(found.outcomes), set(found.flags), found.reached


def named(tests: list[str], first: bool) -> Iterator[tuple[str, str]]:
    """Each test with each profile that it names, or with one."""
    for path in bundled.litmus_files(tests):
        for arch in build.read(path).named_profiles[: 1 if first else None]:
            yield path.stem, arch


def last_count(work: tuple[str, str]) -> int:
    """The states that a test had when they were last written down, so that the small ones come first."""
    measured = bundled.directory("litmus") / f"{work[0]}.expected"
    if not measured.exists():
        return 0
    return int(json.loads(measured.read_text(encoding="utf-8")).get(work[1], {"states": 0})["states"])


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a test on a profile answers under each set of reductions, compared with all of them."""

    test: str
    arch: str
    states: dict[str, int]
    same: list[str]
    different: list[str]
    limited: list[str]
    fewer: list[str]  # the same answer from fewer states than with all: two reductions that get in each other's way


@dataclass(frozen=True, slots=True)
class Compare:
    """Compares one test on one profile, in whichever process."""

    options: Options

    def __call__(self, work: tuple[str, str]) -> Comparison:
        full = explore(*work, EVERY, self.options)
        found = Comparison(*work, {"all": full.states}, [], [], [], [])
        for name, names in SETS.items():
            if name == "all":
                continue
            other = explore(*work, names, self.options)
            found.states[name] = other.states
            if not (full.complete and other.complete):
                found.limited.append(name)
            elif answer(other) == answer(full):
                found.same.append(name)
                if other.states < full.states:
                    found.fewer.append(name)
            else:
                found.different.append(name)
        return found


def compare(tests: list[str], first: bool, options: Options, jobs: int, kept: Path | None) -> int:
    """Exit status."""
    known: list[Comparison] = []
    if kept is not None and kept.exists():
        known = [Comparison(**json.loads(line)) for line in kept.read_text(encoding="utf-8").splitlines()]
    done = {(c.test, c.arch): c for c in known}
    wanted = sorted(named(tests, first), key=last_count)
    todo = [work for work in wanted if work not in done]
    for found in beside.in_order(Compare(replace(options, memory_bytes=options.memory_bytes // jobs)), todo, jobs):
        done[found.test, found.arch] = found
        if kept is not None:
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(found)) + "\n")
        limited = f"; a limit was met {', '.join(found.limited)}" if found.limited else ""
        print(f"{found.test} on {found.arch}: {found.states['all']} states{limited}", file=sys.stderr, flush=True)
        for name in found.different:
            print(f"{found.test} on {found.arch}, {name}: ANOTHER ANSWER", flush=True)
        for name in found.fewer:
            print(f"{found.test} on {found.arch}, {name}: {found.states[name]} states, {found.states['all']} with all")
    all_ = [done[work] for work in wanted]
    same, different, limits = (sum(len(getattr(c, m)) for c in all_) for m in ("same", "different", "limited"))
    print(
        f"{len(all_)} tests on a profile: {same} the same, {different} different, {limits} not known: a limit was met"
    )
    return int(bool(different))


# ----------------------------------------------------------------------------------------------- table


def largest() -> list[tuple[str, str]]:
    """The tests that had the most states when they were last measured, each on its largest profile."""
    rows = []
    for path in bundled.litmus_files([]):
        measured = path.with_suffix(".expected")
        if measured.exists():
            profiles = json.loads(measured.read_text(encoding="utf-8"))
            rows.append(max((found["states"], path.stem, arch) for arch, found in profiles.items()))
    return [(test, arch) for _, test, arch in sorted(rows, reverse=True)[:CANDIDATES]]


def spin(test: str, arch: str, work: Path, options: Options) -> dict[str, Any]:
    """SPIN's own reduction on what we export.

    Code that we have not executed within the limits is left out, as SPIN's models could hardly be compiled with it; a
    run of SPIN that comes to such a place says so, and its number is then a lower bound.
    """
    kept = work / f"{test}.{arch}.spin.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    of, covered = scenario(test, arch, reduce.NONE), None
    if ":" not in test:
        noted = checking.explore_scenario(of, replace(options, coverage=True))
        covered = frozenset(noted.covered)
    write, suffix = LANGUAGES["promela"]
    path = work / f"{of.name}.{arch.replace('+', '_')}{suffix}"
    path.write_text(write(plan_of(of, covered), path.name, "check"), encoding="utf-8")
    built = peers.Spin(path, reduce=True, deadlocks=False, optimise="-O1", memory_mb=SPIN_MB)
    found = built.run(hash_bits=22, depth=1_000_000, time_s=SPIN_S)
    cell = {"states": found.states, "complete": found.complete and "left_out" not in found.flags}
    kept.write_text(json.dumps(cell | {"flags": sorted(found.flags), "problem": found.problem}))
    print(test, arch, "SPIN", cell, flush=True)
    return cell


def measure(test: str, arch: str, work: Path, options: Options) -> dict[str, dict[str, Any]]:
    """States under each set of reductions; what is in `work` is not measured again."""
    kept = work / f"{test}.{arch}.json"
    row: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    for name, names in SETS.items():
        if name == "without symmetry" and ":" not in test:
            row[name] = row["all"]  # no test has like threads
        elif name not in row:
            found = explore(test, arch, names, options)
            row[name] = {"states": found.states, "complete": found.complete, "seconds": round(found.seconds, 1)}
            print(test, arch, name, row[name], flush=True)
        kept.write_text(json.dumps(row))
    return row


def shown(cell: dict[str, Any] | None) -> str:
    """A number of states; more than it, if a limit was met."""
    if cell is None or not cell["states"]:
        return "-"
    return f"{'' if cell['complete'] else '> '}{cell['states']:,}"


def table(rows: list[tuple[str, str, dict[str, dict[str, Any]]]], options: Options) -> str:
    """The page of documentation."""
    names = [*SETS, "SPIN"]
    times = [row["none"]["states"] / row["all"]["states"] for test, _, row in rows if ":" not in test]
    lines = [
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->",
        "# What each reduction is worth",
        "",
        *HEAD,
        f"`>`: a limit was met, at least {options.memory_bytes >> 20} MB or {options.time_s:.0f} s for us,"
        f" {SPIN_MB} MB or {SPIN_S} s for it.",
        "The numbers are from the day of the commit that brought this table.",
        "",
        "| test | " + " | ".join(names) + " |",
        "| --- |" + " ---: |" * len(names),
    ]
    for test, arch, row in rows:
        name = f"{test}@{arch}" if ":" not in test else test
        lines.append(f"| {name} | " + " | ".join(shown(row.get(n)) for n in names) + " |")
    told = f"at least {min(times):.0f} to {max(times):.0f} times as many states as with all."
    lines += ["", f"With none, the tests have {told}"]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["compare", "table"])
    parser.add_argument("tests", nargs="*")
    parser.add_argument("--time", type=float, default=60)
    parser.add_argument("--memory", type=int, default=1000, help="MB")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "reductions")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--only", choices=["ours", "spin"], help="measure these only, for a table to be made later")
    given = parser.parse_intermixed_args()
    options = Options(threads=1, memory_bytes=given.memory << 20, time_s=given.time)
    if given.what == "compare":
        return compare(given.tests, given.first, options, given.jobs, given.kept)
    given.work.mkdir(parents=True, exist_ok=True)
    sizes = [(measure_all(test, arch, given.work, options), test, arch) for test, arch in largest()]
    chosen = [(test, arch) for _, test, arch in sorted(sizes, reverse=True)[:SHOWN]]
    rows: list[tuple[str, str, dict[str, dict[str, Any]]]] = []
    for test, arch in [*chosen, (CLASSIC, "")]:
        row = measure(test, arch, given.work, options) if given.only != "spin" else {}
        if given.only != "ours" and not peers.missing(*peers.Spin.needs):
            row["SPIN"] = spin(test, arch, given.work, options)
        rows.append((test, arch, row))
    if given.only:
        return 0
    text = table(rows, options)
    print(text)
    if given.write is not None:
        given.write.write_text(text, encoding="utf-8")
    return 0


def measure_all(test: str, arch: str, work: Path, options: Options) -> int:
    """The states with all reductions, by which the largest are chosen."""
    kept = work / f"{test}.{arch}.json"
    if not kept.exists():
        found = explore(test, arch, EVERY, options)
        cell = {"states": found.states, "complete": found.complete, "seconds": round(found.seconds, 1)}
        kept.write_text(json.dumps({"all": cell}))
    return int(json.loads(kept.read_text())["all"]["states"])


if __name__ == "__main__":
    sys.exit(main())
