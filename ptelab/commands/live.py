# SPDX-License-Identifier: GPL-2.0-only
"""`ptelab live`: litmus tests on the running kernel."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import click

from ptelab import bundled
from ptelab.checking import Options
from ptelab.commands.shared import BadInput, memory_default


@click.command()
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...")
@click.option("--patch", "patches", multiple=True, metavar="ID|FILE", help="Apply a patch to the model.")
@click.option("--model", type=click.Path(path_type=Path), metavar="DIR", help="Use this copy of the model.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=0.25, show_default=True, help="Per test.")
@click.option("--directory", type=click.Path(path_type=Path), metavar="DIR", help="Where files are made; on a disk.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a test, a line each.")
def live(paths: tuple[str, ...], patches: tuple[str, ...], model: Path | None, seconds: float,
         directory: Path | None, as_json: bool) -> int:  # fmt: skip
    """Hold the model against the running kernel: litmus tests and, in *.toml, counts.  Without FILE all bundled ones.

    Real threads and processes run the columns again and again.  An outcome that the model forbids fails; one that was
    never seen is only reported.  Counts of events must be equal.  What cannot be done here is skipped, with the reason.
    No setting of the system is changed.  Exit status: 0 as the model says, 1 not, 2 bad input, 3 the model met a
    limit, 4 all skipped.
    """
    from ptelab.live import command

    for place in (model, directory):
        if place is not None and not place.is_dir():
            raise BadInput(f"{place}: no such directory")
    options = Options(
        model=model, patches=tuple(bundled.patch_path(word) for word in patches), threads=os.cpu_count() or 1,
        memory_bytes=memory_default(),
    )  # fmt: skip
    explain = functools.partial(click.echo, err=as_json)
    counts = [Path(p) for p in paths if p.endswith(".toml")]
    tests = [p for p in paths if not p.endswith(".toml")]
    files = bundled.litmus_files(tests) if tests or not counts else []
    if not paths:
        counts = sorted(bundled.directory("live").glob("*.toml"))
    return command.live([*files, *counts], options, seconds, directory, as_json, click.echo, explain)
