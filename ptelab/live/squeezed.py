# SPDX-License-Identifier: GPL-2.0-only
"""Squeezes on the running kernel beside the model's, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ptelab.live import verdict as verdicts
from ptelab.live.binary import Crashed, Hung
from ptelab.live.column import Unable
from ptelab.live.figure import bars
from ptelab.live.report import Entry
from ptelab.live.squeezing import CAVEAT, Left, Squeezing, measure, read, show, sorts

if TYPE_CHECKING:
    from ptelab.live.command import Session


def squeezes(session: Session, paths: Sequence[Path]) -> list[str]:
    """Perform all scenarios of some files: a status for each."""
    statuses: list[str] = []
    for path in paths:
        for scenario in read(path):
            status, seen, kernel = _measured(session, scenario)
            statuses.append(status)
            figure = _figure(scenario, {"running kernel": kernel}) if kernel else ""
            if kernel and scenario.old:
                seen += f"\n{CAVEAT}"
            session.entries.append(
                Entry("squeeze", scenario.name, scenario.question, session.kernel, status, "", seen,
                      session.command(str(path)), figure)
            )  # fmt: skip
            _say(session, scenario, status, seen, kernel)
    if statuses:
        session.explain(verdicts.summary("squeezes", statuses))
    return statuses


def _measured(session: Session, scenario: Squeezing) -> tuple[str, str, list[Left]]:
    try:
        kernel = measure(scenario, session.abilities, session.directory)
    except Unable as error:
        return "skipped", str(error), []
    except (Crashed, Hung) as error:
        return "failed", str(error), []
    return "incomplete", show(scenario, kernel), kernel


def _say(session: Session, scenario: Squeezing, status: str, seen: str, kernel: Sequence[Left]) -> None:
    if not kernel:
        session.explain(f"{'!!! ' * (status == 'failed')}Squeeze {scenario.name} {status}: {seen}")
    elif session.as_json:
        record = {"squeeze": scenario.name, "kernel": session.kernel, "status": status,
                  "squeezed": scenario.squeezed, "measured": [asdict(one) for one in kernel]}  # fmt: skip
        session.echo(json.dumps(record, ensure_ascii=False))
    else:
        session.echo("\n".join([f"Squeeze {scenario.name}:", *(f"  {line}" for line in seen.splitlines())]))


def _figure(scenario: Squeezing, sides: dict[str, list[Left]]) -> str:
    touched, others = sorts(scenario)
    series = {f"touched pages left, {who}": [one.touched / touched for one in left] for who, left in sides.items()}
    series |= {f"other pages left, {who}": [one.others / others for one in left] for who, left in sides.items()}
    return bars([f"-{mb} MB" for mb in scenario.squeezed], series)
