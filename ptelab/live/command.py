# SPDX-License-Identifier: GPL-2.0-only
"""What `ptelab live` does: tests are performed on the running kernel and held against the model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ptelab import checking
from ptelab.checking import Options
from ptelab.litmus import build
from ptelab.live import verdict as verdicts
from ptelab.live.column import Unable
from ptelab.live.observed import allowed
from ptelab.live.probe import Abilities, probe
from ptelab.live.running import perform
from ptelab.live.verdict import Verdict

OK, FAILED, LIMIT, SKIPPED = 0, 1, 3, 4


def live(paths: Sequence[Path], options: Options, seconds: float, directory: Path | None, as_json: bool,
         echo: Callable[[str], object], explain: Callable[[str], object]) -> int:  # fmt: skip
    """Run tests for some seconds each; `echo` takes results, `explain` what is said besides.  The exit status."""
    abilities = probe()
    machine = abilities.machine
    kernel = f"{os.uname().release} {os.uname().machine}"
    if machine is None:
        explain(f"skipped: the agent has no machine code for {os.uname().machine}")
        return SKIPPED
    explain(f"Kernel {kernel}, {len(abilities.cpus)} CPUs{_limits(abilities)}")
    options = Options(arch=machine.profile, model=options.model, patches=options.patches, reduce=options.reduce,
                      threads=options.threads, memory_bytes=options.memory_bytes, time_s=options.time_s)  # fmt: skip
    found: list[Verdict] = []
    skipped = 0
    for path in paths:
        test = build.read(path).on(machine.profile)
        reason = checking.skipped(test, machine.profile)
        try:
            if reason:
                raise Unable(reason)
            labels, result = perform(test, abilities, seconds, directory)
        except Unable as error:
            skipped += 1
            explain(f"Test {test.name} skipped: {error}")
            continue
        judged = verdicts.judge(test, result, allowed(test, labels, options))
        found.append(judged)
        if as_json:
            echo(json.dumps(verdicts.json_object(judged, kernel), ensure_ascii=False))
        else:
            echo("\n".join(verdicts.lines(judged)) + "\n")
    explain(verdicts.summary(found, skipped))
    statuses = {v.status for v in found}
    return FAILED if "failed" in statuses else LIMIT if "incomplete" in statuses else OK if statuses else SKIPPED


def _limits(abilities: Abilities) -> str:
    return "" if abilities.frames else "; frame numbers are hidden: no map counts, no dirty flags, no disk"
