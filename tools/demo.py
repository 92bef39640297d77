# SPDX-License-Identifier: GPL-2.0-only
"""`make demo`: Linux v7.0 as it stands, then the lost write that commit 5df397dec7c4 repaired."""

from __future__ import annotations

import subprocess
import sys

TEST = "munmap+store+writeback"
PATCH = "5df397dec7c4"


def ptelab(*arguments: str) -> int:
    """Run a command as a user would, its output shown."""
    print(f"\n$ ptelab {' '.join(arguments)}\n", flush=True)
    return subprocess.run([sys.executable, "-m", "ptelab", *arguments], check=False).returncode


def main() -> int:
    """Run the two checks; 0 when the first passes and the second finds the bug."""
    print("ptelab explores every interleaving of CPUs, TLBs, page-table walkers and kernel threads in small scenarios.")
    print("First all bundled litmus tests against the model of Linux v7.0.  Each must end as its `Result:` line says.")
    as_it_stands = ptelab("check")
    print()
    print(f"Now {TEST} with commit {PATCH} reverted, that is, with the rmap dropped")
    print("before the TLB is flushed, as until Linux 6.1.  A store through a stale TLB entry is lost; the shortest run")
    print("that loses it is shown, a lane for each thread, a `*` at the steps that the loss depends on.")
    reverted = ptelab("check", TEST, "--patch", PATCH)
    print()
    if as_it_stands == 0 and reverted == 1:
        print("As it should be: no test fails on v7.0, and without the fix the write is lost.")
        return 0
    print(f"Not as it should be: exit status {as_it_stands} (0 expected), then {reverted} (1 expected).")
    return 1


if __name__ == "__main__":
    sys.exit(main())
