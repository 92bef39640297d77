# SPDX-License-Identifier: GPL-2.0-only
"""Do SPIN and Rumur find what ptelab finds?  python bench/agree.py --work DIR [--write docs/agreement.md] [MODEL…]

A MODEL is `NAME`, `NAME@ARCH`, `NAME!PATCH` or `PROGRAM:PARAMETER=N`; without one it is a list of small ones.  Each is
explored without reductions and exported, and both checkers explore what was exported.  DIR keeps each result, so that
an interrupted run goes on where it was.  Code of the kernel that ptelab never executes is left out of the
exported model, which would take Rumur minutes to read; a checker that comes to such a place says so, and disagrees.
Exit status: 0 all agree, 1 some do not, 2 a checker is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ptelab import bundled, checking, programs, reduce
from ptelab.checking import Options
from ptelab.commands.export import LANGUAGES, plan_of
from ptelab.litmus import build
from ptelab.scenario import Scenario

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import peers  # noqa: E402  # found from the root

CLASSICS = ["two_phase_commit:nr_Manager=3", "two_phase_commit:nr_Manager=5", "peterson:nr_Process=3"]
STATES_MAX = 300_000  # of litmus tests; programs are small to compile and may have more


def scenario(model: str, reduced: bool = False) -> Scenario:
    """What a MODEL means, without reductions unless they are wanted."""
    name, _, values = model.partition(":")
    if (path := ROOT / "bench" / f"{name}.py").exists():
        pairs = (word.split("=") for word in values.split(",") if word)
        return programs.read(path, {n: int(v) for n, v in pairs}, None if reduced else reduce.NONE)
    name, _, patch = model.partition("!")
    name, _, arch = name.partition("@")
    arch = arch or "x86_64"
    test = build.read(bundled.directory("litmus") / f"{name}.litmus")
    if reason := checking.skipped(test, arch):
        raise ValueError(reason)
    patches = (bundled.patch_path(patch),) if patch else ()
    return checking.prepare(test.on(arch), Options(arch=arch, reduce=reduced, patches=patches)).scenario


def compare(model: str, work: Path, time_s: float) -> dict[str, Any]:
    """What the three checkers say of a model."""
    of = scenario(model)
    is_program = (ROOT / "bench" / f"{of.name}.py").exists()
    memory = 4 << 30 if is_program else STATES_MAX * 350
    ours = checking.explore_scenario(of, Options(threads=1, coverage=True, memory_bytes=memory, time_s=time_s))
    row: dict[str, Any] = {"model": model, "states": ours.states, "transitions": ours.transitions}
    if not ours.complete or (ours.states > STATES_MAX and not is_program):
        return row | {"skipped": "too large"}
    kept = None if is_program else frozenset(ours.covered)
    plan = plan_of(of, kept)
    paths = {}
    for language, (write, suffix) in LANGUAGES.items():
        paths[language] = work / f"{of.name}{suffix}"
        paths[language].write_text(write(plan, paths[language].name, "check"), encoding="utf-8")
    optimise = "-O2" if is_program else "-O0"  # what a litmus test takes is compiling
    bits, depth = max(20, ours.states.bit_length()), max(100_000, ours.states)
    spin = peers.Spin(paths["promela"], optimise=optimise).run(hash_bits=bits, depth=depth, time_s=1800)
    rumur = peers.Rumur(paths["murphi"], optimise=optimise).run(time_s=1800)
    row |= {
        "spin": spin.states,
        "spin_transitions": spin.transitions,
        "rumur": rumur.states,
        "rumur_rules": rumur.transitions,
    }
    row |= {"flags": sorted(ours.flags), "outcomes": len(ours.outcomes), "problem": spin.problem or rumur.problem}
    wrong = [
        what
        for what, fails in {
            "SPIN incomplete": not spin.complete, "Rumur incomplete": not rumur.complete,
            "SPIN states": spin.states != ours.states, "Rumur states": rumur.states != ours.states,
            "SPIN transitions": spin.transitions != ours.transitions,
            "SPIN flags": spin.flags != set(ours.flags),
            "Rumur flags": bool((rumur.flags ^ set(ours.flags)) - {"deadlock"}),
            "SPIN outcomes": spin.outcomes != set(ours.outcomes),
            "Rumur outcomes": rumur.outcomes != set(ours.outcomes),
            "SPIN situations": spin.reached != ours.reached,
        }.items()
        if fails
    ]  # fmt: skip
    return row | {"wrong": wrong}


_LARGE = (
    "`make bench` compares the larger ones: two-phase commit with 8 and 9 managers has 1,745,408 and 10,340,352\n"
    "states in all three."
)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a page of documentation."""
    lines = [
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->",
        "# SPIN and Rumur on the same models",
        "",
        "Made by `make agree`: each model is explored without reductions, exported (`ptelab export`), and",
        "explored by SPIN (exact, no partial order reduction) and Rumur. Compared besides what is shown: the sets",
        "of outcomes, and with SPIN the situations and the number of transitions, those that raise a flag included.",
        "Rumur's models do not look for deadlocks. `@` names an architecture, `!` a patch. The numbers are from the",
        "day of the commit that brought this table; they change with the model.",
        "",
        "| model | ptelab states | SPIN | Rumur | transitions | SPIN | outcomes | flags | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for r in rows:
        what = "agree" if not r["wrong"] else "; ".join(r["wrong"])
        lines.append(
            f"| {r['model']} | {r['states']:,} | {r['spin']:,} | {r['rumur']:,} | {r['transitions']:,} |"
            f" {r['spin_transitions']:,} | {r['outcomes']} | {', '.join(r['flags'])} | {what} |"
        )
    agreeing = sum(not r["wrong"] for r in rows)
    return "\n".join([*lines, "", f"{agreeing} of {len(rows)} models agree.", "", _LARGE]) + "\n"


def main() -> int:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description="Do SPIN and Rumur find what ptelab finds?")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--work", type=Path, required=True, help="directory for models and results")
    parser.add_argument("--write", type=Path, help="write the table to this file")
    parser.add_argument("--time", type=float, default=60, help="seconds that ptelab may take for a model")
    arguments = parser.parse_args()
    if missing := peers.missing(*peers.Spin.needs, *peers.Rumur.needs):
        print(f"not installed: {missing}", file=sys.stderr)
        return 2
    arguments.work.mkdir(parents=True, exist_ok=True)
    models = arguments.models or (ROOT / "bench" / "agree.txt").read_text(encoding="utf-8").split()
    rows = []
    for model in models:
        kept = arguments.work / f"{model.replace('/', '_')}.json"
        if not kept.exists():
            try:
                row = compare(model, arguments.work, arguments.time)
            except (ValueError, RuntimeError) as error:
                row = {"model": model, "skipped": str(error)[:300]}
            kept.write_text(json.dumps(row), encoding="utf-8")
        row = json.loads(kept.read_text(encoding="utf-8"))
        print(json.dumps(row), flush=True)
        if "skipped" not in row:
            rows.append(row)
    if arguments.write is not None:
        arguments.write.write_text(table(rows), encoding="utf-8")
    return int(any(r["wrong"] for r in rows))


if __name__ == "__main__":
    sys.exit(main())
