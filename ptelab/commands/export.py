# SPDX-License-Identifier: GPL-2.0-only
"""`ptelab export`: a litmus test or a program as a model for another checker."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from ptelab import bundled, checking, programs, reduce
from ptelab.commands.explore import parameters
from ptelab.commands.shared import OK, SKIPPED, BadInput, check_writable, memory_default, read_test
from ptelab.export.murphi import murphi
from ptelab.export.plan import ExportError, Plan, Start
from ptelab.export.promela import promela
from ptelab.machine import Flagged, Machine
from ptelab.scenario import Scenario

LANGUAGES = {"promela": (promela, ".pml"), "murphi": (murphi, ".m")}


def plan_of(scenario: Scenario, executed: frozenset[tuple[str, int]] | None = None) -> Plan:
    """What of a scenario, whose reductions are all off, is exported; `executed`: leave out what is not."""
    assert scenario.reductions == reduce.NONE
    machine = Machine(scenario)
    try:
        cells, threads = machine.initial()
    except Flagged as flagged:
        raise BadInput(
            f"{scenario.name}: the initial state raises {flagged.name}; there is nothing to export"
        ) from None
    start = Start(cells, threads, frozenset(machine.reached))
    return Plan(scenario, machine.program, machine.layout, machine.memory, machine.final_name, start, executed)


@click.command()
@click.argument("file")
@click.option("--to", "language", type=click.Choice(list(LANGUAGES)), required=True, help="In what language.")
@click.option("--arch", default="x86_64", metavar="A", help="Profile, such as x86_64 or arm64+hafdbs.")
@click.option("--patch", "patches", multiple=True, metavar="ID|FILE", help="Apply a patch of the model.")
@click.option("--model", type=click.Path(path_type=Path), metavar="DIR", help="Use this copy of the model.")
@click.option("--set", "values", multiple=True, metavar="NAME=N", help="Give a layout parameter a value.")
@click.option("--prune", is_flag=True, help="Explore first, and leave out code that is never executed.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to this file.")
def export(file: str, language: str, arch: str, patches: Sequence[str], model: Path | None, values: tuple[str, ...],
           prune: bool, output: Path | None) -> int:  # fmt: skip
    """Write a litmus test, or a program in the dialect, as a model for SPIN or Rumur.

    The model has the same states and transitions as `ptelab check --no-reduce`; its head says how to run it.
    """
    write, suffix = LANGUAGES[language]
    if output is not None:
        check_writable(output)
    if file.endswith(".py"):
        if patches or model is not None or arch != "x86_64":
            raise BadInput(f"{file} is a program, which has no kernel; leave --arch, --patch and --model out")
        scenario = programs.read(Path(file), parameters(values), reduce.NONE)
        words = ["explore", file, *(w for v in values for w in ("--set", v))]
    else:
        if values:
            raise BadInput("--set is for programs; a litmus test says its sizes in a line Bounds=")
        checking.check_arch(arch)
        paths = bundled.litmus_files([file])
        if len(paths) != 1:
            raise BadInput(f"{file}: {len(paths)} litmus tests; write one of them instead")
        test = read_test(paths[0])
        if reason := checking.skipped(test, arch):
            click.echo(f"Test {test.name} skipped: {reason}", err=True)
            return SKIPPED
        options = checking.Options(
            arch=arch, model=model, patches=tuple(bundled.patch_path(p) for p in patches), reduce=False
        )
        scenario = checking.prepare(test.on(arch), options).scenario
        words = ["check", file, *(["--arch", arch] if arch != "x86_64" else [])]
        words += [w for p in patches for w in ("--patch", p)]
    name = output.name if output is not None else scenario.name.replace("+", "-") + suffix
    executed = None
    if prune:
        found = checking.explore_scenario(scenario, checking.Options(coverage=True, memory_bytes=memory_default()))
        if not found.complete:
            raise BadInput(f"{scenario.name}: too large to be explored, so nothing can be left out; leave --prune out")
        executed = frozenset(found.covered)
    try:
        text = write(plan_of(scenario, executed), name, shlex.join(words))
    except ExportError as error:
        raise BadInput(str(error)) from error
    if output is None:
        click.echo(text, nl=False)
        return OK
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{output}: cannot be written: {error.strerror}") from error
    return OK
