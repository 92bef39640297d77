# SPDX-License-Identifier: GPL-2.0-only
"""ptelab, SPIN and Rumur side by side: python bench/versus.py [--runs 3] [--cpu 1] [--time S] [--write FILE] [MODEL…]

Each model (as bench/agree.py names them) is explored without reductions by ptelab with one thread, by SPIN (exact, all
states stored, gcc -O3) without and with its partial order reduction, and by Rumur (gcc -O3, one thread); all of them
bound to one CPU, one after the other, and that several times.  Rates are per second of the processor, so that other
work on the machine counts little; still, trust ratios, not single figures.  What it takes to make machine code of a
model is not in the rates but in a column of its own.  Memory is the most that the process had; for ptelab that of its
states, table and queue.  With --threads, ptelab and Rumur run with as many threads as well; these rates are per second
that went by.

The largest litmus tests have more states without reductions than SPIN or Rumur could hold; of these, and of any model
with --time, the first seconds are measured instead: `>` before the number of states.  FILE gets the medians as a table.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ptelab import checking
from ptelab.checking import Options
from ptelab.commands.export import LANGUAGES, plan_of

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import peers  # found from the root
from bench.agree import scenario

MODELS = [
    "two_phase_commit:nr_Manager=8", "two_phase_commit:nr_Manager=9", "peterson:nr_Process=4", "munmap+store+writeback",
]  # fmt: skip
LARGEST = ["madvise+madvise+load+clean", "madvise+switch+attach", "madvise+madvise+store"]
LARGEST_S = 30.0
KNOWN = {
    "two_phase_commit:nr_Manager=8": 1_745_408, "two_phase_commit:nr_Manager=9": 10_340_352,
    "peterson:nr_Process=4": 1_119_560, "arm64_asid:SWITCHES=2": 3_468_012,
}  # fmt: skip
"""What everybody finds who has counted: Gray and Lamport's specification, BEEM's model, and ours."""
MEMORY_MB = 6144
STOPPED = ("time", "Search not completed")
HEAD = (
    "Made by `python bench/versus.py --write docs/speed.md`, which `make bench` runs: the same models, explored",
    "without reductions by one thread on one CPU, by turns; medians. Rates are distinct states per second of the",
    "processor, without what it takes to make machine code. *× SPIN*: our rate divided by its, run by run; *POR*:",
    "with its own partial order reduction. SPIN stores all states (`-DNOREDUCE`, no hash-compact); SPIN and Rumur are",
    "compiled with `gcc -O3`. Bytes are those of states, table and queue for ptelab, of the process for the others.",
    "`>`: the first seconds of a search.",
)


def one(model: str, threads: int, time_s: float | None) -> None:
    """Explore with ptelab in this process, and print what it took as JSON."""
    of = scenario(model)
    options = Options(threads=threads, memory_bytes=MEMORY_MB << 20, time_s=time_s)
    started = time.process_time(), time.monotonic()
    checking.explore_scenario(of, Options(threads=threads, memory_bytes=MEMORY_MB << 20, time_s=1e-9))
    built = time.process_time(), time.monotonic()
    found = checking.explore_scenario(of, options)
    ended = time.process_time(), time.monotonic()
    build, elapsed_build = built[0] - started[0], built[1] - started[1]
    print(json.dumps({
        "states": found.states, "transitions": found.transitions, "complete": found.complete, "build_seconds": build,
        "seconds": max(ended[0] - built[0] - build, 1e-3), "elapsed": max(ended[1] - built[1] - elapsed_build, 1e-3),
        "memory_bytes": found.memory_bytes, "problem": found.stopped,
    }))  # fmt: skip


def ptelab(model: str, cpu: int | None, threads: int, time_s: float | None) -> peers.Result:
    """Explore with ptelab in a process of its own."""
    command = [sys.executable, __file__, "--one", str(threads), model]
    command += ["--time", str(time_s)] if time_s else []
    done = subprocess.run(peers.pinned(cpu, command), capture_output=True, text=True, check=True)
    return peers.Result(**json.loads(done.stdout))


def tools(
    model: str, work: Path, cpu: int, threads: int, time_s: float | None
) -> dict[str, Callable[[], peers.Result]]:
    """How each tool explores the model once; building happens here."""
    # What is executed with reductions is what is executed without, and is known sooner.
    of, options = scenario(model), Options(threads=1, memory_bytes=MEMORY_MB << 20, coverage=True)
    ours = checking.explore_scenario(scenario(model, reduced=True) if time_s else of, options)
    if not ours.complete:
        raise RuntimeError(f"{model}: ptelab stopped: {ours.stopped}")
    if not time_s and ours.states != KNOWN.get(model, ours.states):
        raise RuntimeError(f"{model}: {ours.states} states, but there are {KNOWN[model]}")
    plan = plan_of(of, frozenset(ours.covered) if ":" not in model else None)
    paths = {}
    for language, (write, suffix) in LANGUAGES.items():
        paths[language] = work / f"{of.name}{suffix}"
        paths[language].write_text(write(plan, paths[language].name, "explore"), encoding="utf-8")
    bits, depth = (25, 1_000_000) if time_s else (ours.states.bit_length() + 1, max(ours.states, 1000))
    limits = {"hash_bits": bits, "depth": depth, "cpu": cpu, "time_s": time_s or 7200.0}
    made: dict[str, Callable[[], peers.Result]] = {"ptelab": lambda: ptelab(model, cpu, 1, time_s)}
    if not peers.missing(*peers.Spin.needs):
        for name, reduce in (("SPIN", False), ("SPIN, POR", True)):
            built = peers.Spin(paths["promela"], reduce=reduce, deadlocks=False, optimise="-O3", memory_mb=MEMORY_MB)
            made[name] = lambda built=built: built.run(**limits)  # type: ignore[misc]
    if not peers.missing(*peers.Rumur.needs):
        rumur = peers.Rumur(paths["murphi"], optimise="-O3")
        made["Rumur"] = lambda: rumur.run(cpu=cpu, time_s=time_s or 7200)
        if threads > 1:
            several = peers.Rumur(paths["murphi"], optimise="-O3", threads=threads)
            made[f"Rumur, {threads} threads"] = lambda: several.run(time_s=time_s or 7200)
    if threads > 1:
        made[f"ptelab, {threads} threads"] = lambda: ptelab(model, None, threads, time_s)
    return made


def spread(values: list[float], digits: int = 0) -> str:
    """The least, the middle and the largest."""
    return " / ".join(f"{v:,.{digits}f}" for v in (min(values), statistics.median(values), max(values)))


def measure(model: str, work: Path, cpu: int, threads: int, runs: int, time_s: float | None) -> dict[str, list[str]]:
    """All tools on a model, and a table of what they did; the medians for each: states, rate, bytes, ratio."""
    made = tools(model, work, cpu, threads, time_s)
    results: dict[str, list[peers.Result]] = {name: [] for name in made}
    for _ in range(runs):
        for name, run in made.items():
            results[name].append(run())
    print(f"{model}: least / median / largest of {runs} runs")
    print(f"{'':18} {'states':>14} {'distinct states/s':>30} {'transitions/s':>34} {'B/state':>8} {'build s':>8}"
          "  ptelab's rate to this one's")  # fmt: skip
    medians: dict[str, list[str]] = {}
    for name, several in results.items():
        first = several[0]
        cut = time_s is not None and all(not r.complete and r.problem in STOPPED and r.states for r in several)
        if not cut and (problem := next((r.problem or "incomplete" for r in several if not r.complete), "")):
            print(f"{name:18} {problem}")
            continue
        if (
            not cut
            and results["ptelab"][0].complete
            and {r.states for r in several} != {results["ptelab"][0].states}
            and "POR" not in name
        ):
            print(f"{name:18} {sorted({r.states for r in several})} states: the checkers disagree")
            continue
        of = "ptelab" if "threads" not in name else f"ptelab,{name.partition(',')[2]}"
        rates, moves, ratios = [], [], []
        for ours, theirs in zip(results[of], several, strict=True):
            seconds = [r.elapsed if "threads" in name else r.seconds for r in (ours, theirs)]
            rates.append(theirs.states / seconds[1])
            moves.append(theirs.transitions / seconds[1])
            ratios.append(ours.states / seconds[0] / rates[-1])
        memory = statistics.median(r.memory_bytes for r in several) / first.states
        states = f"{'> ' if cut else ''}{first.states:,}"
        print(f"{name:18} {states:>14} {spread(rates):>30} {spread(moves):>34} {memory:>8.1f}"
              f" {first.build_seconds:>8.1f}  {spread(ratios, 1)}")  # fmt: skip
        rate, ratio = statistics.median(rates), statistics.median(ratios)
        medians[name] = [states, f"{rate:,.0f}", f"{memory:.1f}", f"{ratio:.1f}"]
    print(flush=True)
    return medians


def table(rows: dict[str, dict[str, list[str]]], runs: int) -> str:
    """The medians as a page."""
    cpu = re.search(r"^model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    said = [subprocess.run(c, capture_output=True, text=True).stdout for c in (["spin", "-V"], ["rumur", "--version"])]
    versions = ", ".join(" ".join(line.split(" --")[0].split()) for line in said)
    lines = ["<!-- SPDX-License-Identifier: GPL-2.0-only -->", "# How fast the checkers are", "", *HEAD]
    lines += [f"Runs: {runs}. {datetime.date.today()}, {cpu[1] if cpu else platform.machine()}, {versions}.", ""]
    others = ["SPIN", "SPIN, POR", "Rumur"]
    lines.append(
        "| model | states | states/s | B/state | × SPIN | × SPIN, POR | × Rumur | SPIN B/state | Rumur B/state |"
    )
    lines.append("| --- " + "| ---: " * 8 + "|")
    for model, medians in rows.items():
        ratios = [medians[name][3] if name in medians else "" for name in others]
        sizes = [medians[name][2] if name in medians else "" for name in ("SPIN", "Rumur")]
        lines.append("| " + " | ".join([model, *medians["ptelab"][:3], *ratios, *sizes]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the models."""
    parser = argparse.ArgumentParser(description="ptelab, SPIN and Rumur side by side")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--work", type=Path, default=Path("build/versus"), help="directory for the models")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cpu", type=int, default=0, help="the CPU that everything is bound to")
    parser.add_argument("--threads", type=int, default=1, help="run ptelab and Rumur with so many threads as well")
    parser.add_argument("--time", type=float, metavar="S", help="measure the first S seconds only")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the medians as a table")
    parser.add_argument("--one", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.models[0], arguments.one, arguments.time)
        return
    if missing := peers.missing("spin", "rumur", "gcc", "taskset"):
        print(f"not installed, so left out: {missing}", file=sys.stderr)
    arguments.work.mkdir(parents=True, exist_ok=True)
    named = [(model, arguments.time) for model in arguments.models]
    rows = {}
    for model, time_s in named or [*((m, None) for m in MODELS), *((m, LARGEST_S) for m in LARGEST)]:
        rows[model] = measure(model, arguments.work, arguments.cpu, arguments.threads, arguments.runs, time_s)
    if arguments.write is not None:
        arguments.write.write_text(table(rows, arguments.runs), encoding="utf-8")


if __name__ == "__main__":
    main()
