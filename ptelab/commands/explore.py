# SPDX-License-Identifier: GPL-2.0-only
"""`ptelab explore`: any program in the dialect, without a kernel or a litmus test around it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from ptelab import checking, lanes, programs, reduce, trace
from ptelab.checking import ENGINES, Options
from ptelab.commands.shared import (
    BAD_INPUT,
    FAILED,
    LIMIT,
    OK,
    BadInput,
    ProgressLine,
    Seconds,
    Size,
    check_checkpoints,
    check_fingerprint,
    checkpoint_options,
    fingerprint_option,
    is_terminal,
    memory_default,
    nothing_to_resume,
    reduction_options,
    reduction_words,
)
from ptelab.exploration import Exploration, format_choices, parse_choices
from ptelab.litmus.judge import incompleteness
from ptelab.litmus.report import fingerprint_object
from ptelab.machine import Machine
from ptelab.scenario import Scenario


def parameters(words: tuple[str, ...]) -> dict[str, int]:
    """The values that `--set NAME=NUMBER` gives."""
    found = {}
    for word in words:
        name, equals, number = word.partition("=")
        if not (name and equals and number.isascii() and number.isdigit()):
            raise BadInput(f"--set {word}; write NAME=NUMBER instead, as nr_Manager=9")
        found[name] = int(number)
    return found


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "values", multiple=True, metavar="NAME=N", help="Give a layout parameter a value.")
@reduction_options
@click.option("--engine", type=click.Choice(ENGINES), default="native", show_default=True, help="What explores.")
@click.option(
    "--threads", type=click.IntRange(1, 64), default=os.cpu_count() or 1, help="Threads of the native engine."
)
@click.option("--memory", type=Size(), help="Stop with exit 3 at this size (default: 3/4 of the free memory).")
@click.option("--time", "time_s", type=Seconds(), metavar="S", help="Stop with exit 3 after S seconds.")
@fingerprint_option
@checkpoint_options
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
@click.option("--replay", "choices", metavar="CHOICES", help="Show this run instead, as it was printed.")
def explore(file: Path, values: tuple[str, ...], no_reduce: bool, without: tuple[frozenset[str], ...],
            engine: checking.EngineName, threads: int, memory: int | None, time_s: float | None,
            fingerprint: int | None, checkpoints: Path | None, resume: bool, as_json: bool,
            choices: str | None) -> int:  # fmt: skip
    """Explore a program in the dialect that declares its threads itself.

    Every interleaving is explored.  Exit status: 0 no flag was raised, 1 one was, 2 bad input, 3 stopped at a limit.
    """
    scenario = programs.read(file, parameters(values), reduce.chosen(not no_reduce, frozenset().union(*without)))
    if choices is not None:
        return _replay(scenario, choices)
    check_checkpoints(checkpoints, resume, engine)
    check_fingerprint(fingerprint, checkpoints, engine)
    memory = memory or memory_default()
    progress = ProgressLine(memory) if is_terminal(sys.stderr) and not as_json else None
    options = Options(
        engine=engine, threads=threads, memory_bytes=memory, whole_process=True, time_s=time_s,
        progress=progress,
        checkpoints=checkpoints, resume=resume, fingerprint=fingerprint or 0,
    )  # fmt: skip
    found = checking.explore_scenario(scenario, options)
    if progress is not None:
        progress.clear()
    if as_json:
        click.echo(json.dumps(json_object(scenario, found), ensure_ascii=False))
    else:
        click.echo("\n".join(lines(scenario, found) + nothing_to_resume(options, found)))
        _show_first_flag(scenario, found, " ".join([str(file), *(f"--set {v}" for v in values),
                                                     *reduction_words(no_reduce, without)]))  # fmt: skip
    return FAILED if found.flags else OK if found.complete else LIMIT


def lines(scenario: Scenario, found: Exploration) -> list[str]:
    """What was found, for people."""
    outcomes = [
        "Outcome " + (" ".join(f"{n}={v}" for n, v in zip(scenario.observed, o, strict=True)) or "()")
        for o in sorted(found.outcomes)
    ]
    why = (incompleteness(found), found.checkpoint)
    return [
        f"Program {scenario.name}",
        *outcomes,
        *(f"Flag {name}" for name in sorted(found.flags)),
        *(f"Reached {name}" for name in sorted(found.reached)),
        f"Explored {found.states} states, {found.transitions} transitions, depth {found.depth}"
        f" in {found.seconds:.2f} s",
        *([f"Symmetry {found.symmetry}"] if found.symmetry else []),
        "Bounds " + " ".join(f"{name}:{value}" for name, value in sorted(scenario.params.items())),
        *([f"Resumed with {found.resumed_states} states"] if found.resumed_states else []),
        *([] if found.complete else [f"!!! incomplete: {'; '.join(filter(None, why))}"]),
    ]


def json_object(scenario: Scenario, found: Exploration) -> dict[str, object]:
    """The same for programs."""
    return {
        "program": scenario.name,
        "outcomes": [dict(zip(scenario.observed, o, strict=True)) for o in sorted(found.outcomes)],
        "flags": {name: format_choices(run) for name, run in sorted(found.flags.items())},
        "reached": sorted(found.reached),
        "complete": found.complete,
        "stopped": found.stopped,
        **fingerprint_object(found),
        "checkpoint": found.checkpoint,
        "resumed_states": found.resumed_states,
        "states": found.states,
        "transitions": found.transitions,
        "depth": found.depth,
        "symmetry": found.symmetry,
        "seconds": round(found.seconds, 3),
        "memory_bytes": found.memory_bytes,
        "bounds": scenario.params,
    }


def _show_first_flag(scenario: Scenario, found: Exploration, command: str) -> None:
    if not found.flags:
        return
    run = min(found.flags.values(), key=len)
    click.echo(lanes.render(trace.record(Machine(scenario), run)))
    click.echo(f"Replay: ptelab explore {command} --replay '{format_choices(run)}'")


def _replay(scenario: Scenario, choices: str) -> int:
    try:
        recorded = trace.record(Machine(scenario), parse_choices(choices))
    except ValueError as error:
        click.echo(f"ptelab: {error}", err=True)
        return BAD_INPUT
    click.echo(lanes.render(recorded))
    return OK
