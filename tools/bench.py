# SPDX-License-Identifier: GPL-2.0-only
"""`make bench`: how fast the engines are on fixed tests; a table to paste into a commit message."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from ptelab import bundled, checking
from ptelab.checking import Options
from ptelab.litmus.build import read

TESTS = ("store+writeback", "munmap+store+writeback", "munmap+store+writeback+two_dirty")


def main() -> None:
    """Print one line for each test and number of threads."""
    print(f"{'test':40} {'threads':>7} {'states':>12} {'build s':>8} {'explore s':>9} {'states/s':>12} {'B/state':>8}")
    counts = sorted({1, os.cpu_count() or 1})
    for name in TESTS:
        test = read(bundled.directory("litmus") / f"{name}.litmus")
        for threads in counts:
            options = Options(threads=threads)
            started = time.monotonic()
            built = checking.prepare(test, options)
            ready = time.monotonic()
            found = checking.explore(built, replace(options, threads=threads))
            rate = found.states / max(found.seconds, 1e-9)
            size = found.memory_bytes / max(found.states, 1)
            print(f"{name:40} {threads:>7} {found.states:>12,} {ready - started:>8.2f} {found.seconds:>9.2f}"
                  f" {rate:>12,.0f} {size:>8.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
