# SPDX-License-Identifier: GPL-2.0-only
"""The command line: the only place with arguments, printing and exit codes."""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import click

import ptelab
from ptelab import bundled, checking
from ptelab.checking import Options
from ptelab.commands import check, explore, export, live
from ptelab.commands.shared import (
    BAD_INPUT,
    BAD_INPUT_ERRORS,
    FAILED,
    LIMIT,
    OK,
    SKIPPED,
    BadInput,
    Seconds,
    Size,
    check_writable,
    is_terminal,
    memory_default,
    model_options,
    options_of,
    profile_list,
    read_test,
)
from ptelab.exploration import parse_choices


class _Commands(click.Group):
    """Reports all bad input the same way: one line on standard error, exit 2."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            status = super().main(*args, **kwargs)
        except click.ClickException as error:
            _complain(error.format_message())
            status = BAD_INPUT
        except BAD_INPUT_ERRORS as error:
            _complain(str(error))
            status = BAD_INPUT
        except BrokenPipeError:
            # The reader has gone; nothing more can be said to it, not even at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = OK
        except OSError as error:
            _complain(f"the output cannot be written: {error.strerror}")
            sys.stdout = None  # what is buffered for it has nowhere to go, at exit neither
            status = BAD_INPUT
        except (click.Abort, KeyboardInterrupt):
            _complain("interrupted")
            status = LIMIT
        sys.exit(status if isinstance(status, int) else OK)


def _complain(text: str) -> None:
    click.echo("ptelab: " + " ".join(text.split()), err=True)


def main() -> None:
    """Run the command line."""
    gc.set_threshold(20_000, 50, 100)  # a model is many objects that stay: looking for cycles took a sixth of the time
    cli()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ptelab.__version__, prog_name="ptelab")
def cli() -> None:
    """A model-checking laboratory for Linux's page-table code.

    Exit status: 0 as `Result:` says, 1 not, 2 bad input, 3 stopped at a limit, 4 skipped.
    """


@cli.command()
@click.argument("file")
@click.argument("choices")
@model_options
@click.option("--all", "everything", is_flag=True, help="Fold nothing.")
@click.option("--json", "as_json", is_flag=True, help="The trace as JSON.")
def replay(file: str, choices: str, everything: bool, as_json: bool, **model: Any) -> int:
    """Replay a run on the reference machine: the CHOICES that `check` printed."""
    from ptelab import trace
    from ptelab.commands.traces import text_trace
    from ptelab.machine import Machine

    options = options_of(**model)
    path = bundled.litmus_files([file])[0]
    test = read_test(path)
    reason = checking.skipped(test, options.arch)
    if reason:
        click.echo(f"Test {test.name} skipped: {reason}")
        return SKIPPED
    try:
        run = parse_choices(choices)
        built = checking.prepare(test, options)
        if as_json:
            recorded = trace.record(Machine(built.scenario), run)
            click.echo(json.dumps(trace.to_json(recorded), indent=1, ensure_ascii=False))
        else:
            click.echo(text_trace(built, run, everything))
    except ValueError as error:
        raise BadInput(str(error)) from error
    return OK


# --------------------------------------------------------------------------------------- show and list


@cli.command()
@click.argument("function")
@model_options
def show(function: str, **model: Any) -> int:
    """Show a function of the model: its source and its IR."""
    from ptelab.showing import show_function

    options = options_of(**model)
    click.echo(show_function(function, options))
    return OK


@cli.command(name="list")
def list_() -> int:
    """List the bundled tests as questions, and the bundled patches."""
    echo = functools.partial(click.echo)
    echo("Tests")
    claims: dict[str, list[str]] = {}
    for path in bundled.litmus_files([]):
        test = read_test(path)
        echo(f"  {test.name}  ({test.expected})")
        echo(click.wrap_text(test.question, 78, initial_indent="      ", subsequent_indent="      "))
        for claim in test.patches:
            claims.setdefault(claim.id, []).append(f"{test.name}: {claim.result} ({', '.join(claim.arches)})")
    echo("\nPatches")
    for patch in bundled.patches().values():
        echo(f"  {patch.id}")
        echo(click.wrap_text(patch.subject, 78, initial_indent="      ", subsequent_indent="      "))
        for claim_text in claims.get(patch.id, []):
            echo(f"      {claim_text}")
    return OK


# ---------------------------------------------------------------------------------------------- mutate


@cli.command()
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...")
@click.option("--files", multiple=True, metavar="PART", help="Only files of the model with this in their path.")
@click.option("--operators", multiple=True, metavar="NAME", help="Only mutants by these operators.")
@click.option(
    "--arch", default="x86_64,arm64,s390", show_default=True, metavar="A", help="Profiles to test on, in turn."
)
@click.option("--model", type=click.Path(path_type=Path), metavar="DIR", help="Use this copy of the model.")
@click.option("--state", type=click.Path(path_type=Path), metavar="FILE", help="Keep what was found, and go on there.")
@click.option("--jobs", type=click.IntRange(1, 64), default=os.cpu_count() or 1, help="Mutants judged at a time.")
@click.option("--most", type=click.IntRange(1), metavar="N", help="Try N tests for each mutant and profile at most.")
@click.option("--time", "time_s", type=click.FloatRange(1), default=300, show_default=True, help="Seconds per mutant.")
@click.option("--list", "only_list", is_flag=True, help="List the mutants and try none.")
@click.option(
    "--table", type=click.Path(path_type=Path), metavar="FILE", help="Write what --state knows as a table; try none."
)
def mutate(paths: tuple[str, ...], files: tuple[str, ...], operators: tuple[str, ...], arch: str, model: Path | None,
           state: Path | None, jobs: int, most: int | None, time_s: float, only_list: bool,
           table: Path | None) -> int:  # fmt: skip
    """Which flush, lock or check is needed, and which test says so: try small changes of the model.

    Each operator copies a pattern of real bugs.  A mutant is killed when a litmus test that executes it has another
    result or raises a flag; a survivor is explained in docs/survivors.toml, or is a test that is missing.
    """
    from ptelab.mutation import campaign
    from ptelab.mutation.operators import OPERATORS
    from ptelab.mutation.table import rows

    for name in operators:
        if name not in OPERATORS:
            raise BadInput(f"unknown operator {name}; write {', '.join(OPERATORS)} instead")
    work = campaign.all_mutants(files, operators or list(OPERATORS), model)
    if not work:
        raise BadInput(f"no mutant in {', '.join(files)}; write a part of a path such as mm/memory.py instead")
    if only_list:
        for mutant in work:
            click.echo(f"{mutant.id}: {mutant.what}")
        return OK
    for output in (state, table):
        if output is not None:
            check_writable(output)
    known = campaign.read_state(state)
    reasons = campaign.explanations(bundled.directory("patches").parent / "docs" / "survivors.toml")
    judged = {m.id: known[m.id] for m in work if m.id in known and known[m.id].change == campaign.change(m)}
    if table is not None:
        table.write_text("\n".join(rows(work, judged, reasons)) + "\n", encoding="utf-8")
        return OK
    options = Options(model=model, memory_bytes=memory_default() // jobs, time_s=60)
    tests = [read_test(path) for path in bundled.litmus_files(list(paths))]
    runs, left_out = campaign.measure(tests, profile_list(arch), options, state)
    for name in left_out:
        click.echo(f"not used, since the model as it is does not pass: {name}")
    todo = [m for m in work if m.id not in judged or not judged[m.id].final]
    todo.sort(key=lambda m: len(judged[m.id].passed) if m.id in judged else -1)  # what was never tried comes first
    done = len(work) - len(todo)

    def report(found: campaign.Judged) -> None:
        nonlocal done
        done += 1
        judged[found.id] = found
        if state is not None:
            campaign.write_state(state, found)
        by = f" by {found.by}: {found.how}" if found.by else f": {found.how}" if found.how else ""
        click.echo(f"[{done}/{len(work)}] {found.id}: {found.what}: {found.verdict}{by}")

    campaign.run(todo, runs, campaign.Plan(options, mutant_s=time_s, most=most), jobs, known, report)
    click.echo("\n".join(campaign.summary([judged[m.id] for m in work if m.id in judged], reasons)))
    if any(j.verdict == campaign.LIMIT for j in judged.values()):
        return LIMIT
    return FAILED if any(j.verdict == campaign.SURVIVED and j.id not in reasons for j in judged.values()) else OK


# ------------------------------------------------------------------------------------------------ diff


@cli.command()
@click.argument("a")
@click.argument("b")
@click.option("--tests", multiple=True, metavar="FILE|DIR", help="Only these tests (default: all bundled ones).")
@click.option("--arch", default="x86_64", metavar="A", help="Profiles, separated by commas, or all.")
@click.option(
    "--threads", type=click.IntRange(1, 64), default=os.cpu_count() or 1, help="Threads of the native engine."
)
@click.option("--memory", type=Size(), help="Stop a test at this size (default: 3/4 of the free memory).")
@click.option("--time", "time_s", type=Seconds(), metavar="S", help="Stop a test after so long.")
@click.option("--json", "as_json", is_flag=True, help="The comparison as one JSON object.")
def diff(a: str, b: str, tests: tuple[str, ...], arch: str, threads: int, memory: int | None, time_s: float | None,
         as_json: bool) -> int:  # fmt: skip
    """Compare two versions of the model: behaviour, counters and cost.

    A and B are patch ids or files joined by commas, a model directory, or - for the bundled model.  Exit status: 0 the
    same on all tests, 1 different, 2 bad input, 3 a test met a limit.
    """
    from ptelab import diffing
    from ptelab.commands.traces import text_trace

    sides = diffing.side(a), diffing.side(b)
    found = diffing.compare(
        *sides, [read_test(path) for path in bundled.litmus_files(list(tests))], profile_list(arch),
        Options(threads=threads, memory_bytes=memory or memory_default(), time_s=time_s),
        (lambda line: click.echo(f"comparing {line}", err=True)) if is_terminal(sys.stderr) else lambda line: None,
    )  # fmt: skip
    status = FAILED if found.differences else LIMIT if found.incomplete else OK
    if as_json:
        click.echo(json.dumps({
            "a": a, "b": b, "alike": found.alike, "incomplete": found.incomplete, "only_one_side": found.only_one_side,
            "differences": [{"test": d.test.name, "arch": d.arch, "states": d.states, "words": d.words}
                            for d in found.differences],
            "costs": [{"what": name, "a": x, "b": y} for name, x, y in diffing.total(found.costs)],
        }, ensure_ascii=False))  # fmt: skip
        return status
    for line in found.only_one_side:
        click.echo(f"counter {line}")
    for d in found.differences:
        click.echo(f"{d.test.name} on {d.arch} differs ({d.states:,} states)")
        click.echo("\n".join(f"  {words}" for words in d.words))
    if found.differences:
        click.echo("\nThe smallest scenario that tells them apart:")
        smallest = found.differences[0]
        for number in (0, 1):
            for shown, built, what, choices in smallest.runs:
                if shown == number:
                    click.echo(f"\n{sides[number].name}: {what}")
                    click.echo(text_trace(built, choices))
                    break
    totals = diffing.total(found.costs)
    click.echo(f"\n{'cost of one run of each test':<40} {sides[0].name[:16]:>16} {sides[1].name[:16]:>16}")
    for name, x, y in totals:
        click.echo(f"  {name:<38} {x:>16} {y:>16}{'' if x == y else f'  {y - x:+}'}")
    for name in found.incomplete:
        click.echo(f"{name}: stopped at a limit, not compared to the end")
    count = found.alike + len(found.differences)
    click.echo(f"same on {found.alike} tests" if not found.differences else
               f"different on {len(found.differences)} of {count} tests")  # fmt: skip
    return status


cli.add_command(check.check)
cli.add_command(explore.explore)
cli.add_command(export.export)
cli.add_command(live.live)
