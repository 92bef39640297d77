# SPDX-License-Identifier: GPL-2.0-only
"""One search with all CPUs against one search on each: python bench/threads.py [--runs 3] [--time S] [MODEL…]

Each model (as bench/agree.py names them) is explored without reductions, by as many processes of one thread as there
are CPUs, all at the same time and each bound to its own, and then by one process with as many threads.  The rates are
distinct states per second that went by; what it takes to make machine code is not in them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import peers, versus  # found from the root
from bench.versus import spread

MODELS = ["two_phase_commit:nr_Manager=10", "munmap+store+writeback+two_dirty"]


def rates(model: str, threads: int, cpus: list[int | None], time_s: float | None) -> list[float]:
    """States per second of searches that run at the same time, one on each CPU (None: wherever it likes)."""
    command = [sys.executable, versus.__file__, "--one", str(threads), model]
    command += ["--time", str(time_s)] if time_s else []
    running = [subprocess.Popen(peers.pinned(cpu, command), stdout=subprocess.PIPE, text=True) for cpu in cpus]
    found = [json.loads(process.communicate()[0]) for process in running]
    return [search["states"] / search["elapsed"] for search in found]


def main() -> None:
    """Measure the models."""
    parser = argparse.ArgumentParser(description="one search with all CPUs against one on each")
    parser.add_argument("models", nargs="*", metavar="MODEL", default=MODELS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--time", type=float, metavar="S", help="stop each search after S seconds")
    arguments = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    print(f"least / middle / largest of {arguments.runs} runs, {len(cpus)} CPUs")
    for model in arguments.models:
        apart, together, shares = [], [], []
        for _ in range(arguments.runs):
            apart.append(sum(rates(model, 1, list(cpus), arguments.time)))
            together.append(rates(model, len(cpus), [None], arguments.time)[0])
            shares.append(100 * together[-1] / apart[-1])
        print(f"{model}: one search on each CPU {spread(apart)} states/s, one on all {spread(together)}")
        print(f"    {spread(shares)} %")


if __name__ == "__main__":
    main()
