# SPDX-License-Identifier: GPL-2.0-only
"""`ptelab check`: litmus tests, explored and judged."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ptelab import beside, bundled, checking, explaining
from ptelab.checking import ENGINES, Options
from ptelab.commands.shared import (
    BAD_INPUT_ERRORS,
    FAILED,
    LIMIT,
    OK,
    SKIPPED,
    BadInput,
    ProgressLine,
    Seconds,
    Size,
    check_checkpoints,
    check_fingerprint,
    check_writable,
    checkpoint_options,
    fingerprint_option,
    is_terminal,
    memory_default,
    model_options,
    nothing_to_resume,
    options_of,
    profile_list,
    read_test,
    reduction_words,
)
from ptelab.coverage import Coverage
from ptelab.exploration import format_choices
from ptelab.litmus import report
from ptelab.litmus.build import Built
from ptelab.litmus.judge import Verdict, named_flags
from ptelab.litmus.resolve import Test


@dataclass(frozen=True, slots=True)
class _Run:
    """A test on a profile."""

    path: Path
    test: Test
    arch: str


@dataclass(frozen=True, slots=True)
class _Told:
    """What became of a run."""

    run: _Run
    verdict: Verdict
    lines: list[str]  # the text, or one line of JSON


@dataclass(frozen=True, slots=True)
class _Teller:
    """Checks a run and finds the words for it, in whichever process."""

    options: Options
    model: Mapping[str, Any]  # what the command line says of the model, for commands that do the same
    as_json: bool
    explain: bool
    several: bool  # profiles

    def __call__(self, run: _Run) -> _Told:
        try:
            built, verdict = checking.check(run.test, replace(self.options, arch=run.arch))
            words = self._json(run, built, verdict) if self.as_json else self._text(run, built, verdict)
        except BAD_INPUT_ERRORS as error:
            raise BadInput(str(error)) from error  # which every process can hand on
        return _Told(run, verdict, words)

    def _json(self, run: _Run, built: Built, verdict: Verdict) -> list[str]:
        told = report.json_object(verdict, run.arch, list(self.model["patches"]), built.scenario.params)
        if self.explain:
            told["explanation"] = _explained(built, verdict).json_object()
        return [json.dumps(told, ensure_ascii=False)]

    def _text(self, run: _Run, built: Built, verdict: Verdict) -> list[str]:
        lines = [f"On {run.arch}"] if self.several else []
        lines += report.herd_lines(verdict, built.scenario.params)
        lines += nothing_to_resume(self.options, verdict.exploration)
        if self.explain:
            lines += _explained(built, verdict).lines()
        if verdict.status == "failed" and verdict.example is not None:
            from ptelab.commands.traces import text_trace  # only a run that is shown needs it

            lines += ["", text_trace(built, verdict.example.choices), f"Replay: {self._replay(run, verdict)}"]
        return [*lines, ""]

    def _replay(self, run: _Run, verdict: Verdict) -> str:
        file = run.path.stem if run.path.parent == bundled.directory("litmus") else str(run.path)
        words = ["ptelab", "replay", file, format_choices(verdict.example.choices if verdict.example else [])]
        if run.arch != "x86_64":
            words += ["--arch", run.arch]
        for patch in self.model["patches"]:
            words += ["--patch", patch]
        if self.model["model"] is not None:
            words += ["--model", str(self.model["model"])]
        return shlex.join(words + reduction_words(self.model["no_reduce"], self.model["without"]))


@click.command()
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...")
@model_options
@click.option("--engine", type=click.Choice(ENGINES), default="native", show_default=True, help="What explores.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Tests checked at a time, each in a process of its own (default: the CPUs, by --threads).",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Threads of the native engine for each test (default: the CPUs, by --jobs).",
)
@click.option("--memory", type=Size(), help="Stop with exit 3 at this size (default: 3/4 of the free memory).")
@click.option("--time", "time_s", type=Seconds(), metavar="S", help="Stop with exit 3 after S seconds.")
@click.option("--coverage", is_flag=True, help="Say which lines of the model the tests have executed, and which not.")
@click.option(
    "--coverage-json", type=click.Path(path_type=Path), metavar="FILE", help="Write what --coverage says as JSON."
)
@click.option(
    "--explain", is_flag=True, help="Say what was reached, what of the called code never ran, what was cut off."
)
@fingerprint_option
@checkpoint_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a test, a line each.")
@click.option(
    "--trace", type=click.Path(path_type=Path), metavar="FILE", help="Write the run that is shown; as JSON to *.json."
)
def check(paths: tuple[str, ...], engine: checking.EngineName, jobs: int | None, threads: int | None,
          memory: int | None, time_s: float | None, coverage: bool, coverage_json: Path | None, explain: bool,
          fingerprint: int | None, checkpoints: Path | None, resume: bool, as_json: bool, trace: Path | None,
          **model: Any) -> int:  # fmt: skip
    """Check litmus tests; without FILE all bundled ones.

    Every interleaving is explored, and the result compared with what the test's `Result:` line says.  `--arch all` runs
    each test on every profile of the architectures that it is about, and says where the answers differ.  --memory and
    --time are for each test; tests that are checked at a time share the memory.
    """
    arches = profile_list(str(model["arch"]))
    model["arch"] = arches[0]
    options = options_of(
        **model, engine=engine, time_s=time_s, coverage=coverage or explain or coverage_json is not None,
        checkpoints=checkpoints, resume=resume, fingerprint=fingerprint or 0,
    )  # fmt: skip
    check_checkpoints(checkpoints, resume, engine, options.coverage)
    check_fingerprint(fingerprint, checkpoints, engine)
    if options.coverage and engine != "native":
        raise BadInput(f"--{'explain' if explain else 'coverage'} needs the native engine; leave --engine out")
    if checkpoints is not None and (jobs or 1) > 1:
        raise BadInput("--checkpoint is for one test at a time; leave --jobs out")
    for output in (trace, coverage_json):
        if output is not None:
            check_writable(output)
    files = bundled.litmus_files(list(paths))
    runs = [_Run(p, test, arch) for p, test in ((p, read_test(p)) for p in files) for arch in _arches(test, arches)]
    possible = [run for run in runs if not _skip(run, as_json)]
    jobs, threads = _shares(len(possible), jobs, threads, alone=checkpoints is not None)
    memory = memory or memory_default()
    progress = ProgressLine(memory) if is_terminal(sys.stderr) and not as_json else None
    options = replace(
        options, threads=threads, memory_bytes=memory // jobs, whole_process=True,
        progress=progress if jobs == 1 else None,
    )  # fmt: skip
    told: list[_Told] = []
    executed = Coverage(options.model)
    teller = _Teller(options, model, as_json, explain, several=len(arches) > 1)
    try:
        for one in _followed(beside.in_order(teller, possible, jobs), progress, len(possible) if jobs > 1 else 0):
            verdict = one.verdict
            executed.add(one.run.arch, verdict.exploration.covered)
            click.echo("\n".join(one.lines))
            if trace is not None and verdict.example is not None and not any(t.verdict.example for t in told):
                from ptelab.commands.traces import write_trace

                built = checking.prepare(one.run.test.on(one.run.arch), replace(options, arch=one.run.arch))
                write_trace(trace, built, verdict.example.choices)
            told.append(one)
            if verdict.exploration.stopped == "interrupt":
                break
    except KeyboardInterrupt:
        click.echo("ptelab: interrupted", err=True)
    except beside.BrokenProcessPool:
        click.echo("ptelab: a process was killed, for lack of memory perhaps; try --jobs 1", err=True)
    interrupted = len(told) < len(possible) or any(t.verdict.exploration.stopped == "interrupt" for t in told)
    if not as_json:
        _summary([t.verdict for t in told], len(runs), interrupted)
        if len(arches) > 1:
            click.echo("\n".join(report.differences([(t.run.arch, t.verdict) for t in told])))
        if coverage:
            click.echo("\n".join(executed.report()))
    if coverage_json is not None:
        coverage_json.write_text(json.dumps(executed.json_object(), indent=1) + "\n", encoding="utf-8")
    return _status([t.verdict for t in told], interrupted)


def _explained(built: Built, verdict: Verdict) -> explaining.Explanation:
    found, test = verdict.exploration, built.test
    told = explaining.explain(built.scenario, found, [name for name, _, _ in test.reach], named_flags(test))
    told.outcomes = sum(not run.flag for run in verdict.runs), len(found.outcomes)
    return told


# Of several profiles a test runs only on those that it is about; of one it says why it does not.
def _arches(test: Test, arches: tuple[str, ...]) -> tuple[str, ...]:
    return arches if len(arches) == 1 else tuple(a for a in arches if not checking.skipped(test, a))


def _skip(run: _Run, as_json: bool) -> bool:
    reason = checking.skipped(run.test, run.arch)
    if reason:
        click.echo(f"Test {run.test.name} skipped: {reason}", err=as_json)
    return bool(reason)


def _shares(runs: int, jobs: int | None, threads: int | None, alone: bool) -> tuple[int, int]:
    """Processes, and threads in each: together as many as there are CPUs, unless the user says otherwise."""
    cpus = os.cpu_count() or 1
    jobs = 1 if alone else max(1, min(jobs or cpus // (threads or 1), runs))
    return jobs, threads or max(1, cpus // jobs)


def _followed(found: Iterator[_Told], progress: ProgressLine | None, count: int) -> Iterator[_Told]:
    """What is found, with a line of progress if there is a `count` of tests for it."""
    numbers: Counter[str] = Counter()
    try:
        for one in found:
            if progress is not None:
                progress.clear()
            yield one
            numbers[one.verdict.status] += 1
            if progress is not None and count and numbers.total() < count:
                words = ", ".join(f"{n} {status}" for status, n in numbers.items())
                progress.say(f"{numbers.total()} of {count} tests: {words}")
    finally:
        if progress is not None:
            progress.clear()


def _status(verdicts: Sequence[Verdict], interrupted: bool) -> int:
    statuses = {v.status for v in verdicts}
    if "failed" in statuses:
        return FAILED
    if "incomplete" in statuses or interrupted:
        return LIMIT
    return OK if statuses else SKIPPED


def _summary(verdicts: Sequence[Verdict], count: int, interrupted: bool) -> None:
    if is_terminal(sys.stdout) and len(verdicts) > 1:
        from rich.console import Console  # a second's tenth that only a terminal has to pay
        from rich.table import Table

        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in ("test", "result", "expected", "states", "depth", "seconds", ""):
            table.add_column(column, justify="right" if column in ("states", "depth", "seconds") else "left")
        colours = {"ok": "green", "failed": "red", "incomplete": "yellow"}
        for v in verdicts:
            found = v.exploration
            table.add_row(v.test.name, v.result, v.test.expected or "", f"{found.states:,}", str(found.depth),
                          f"{found.seconds:.2f}", f"[{colours[v.status]}]{v.status}[/]")  # fmt: skip
        Console().print(table)
    if count > 1:
        numbers = {s: sum(v.status == s for v in verdicts) for s in ("ok", "failed", "incomplete")}
        numbers["not run" if interrupted else "skipped"] = count - len(verdicts)
        words = [f"{n} {s}" for s, n in numbers.items() if n or s == "ok"]
        click.echo(f"{count} tests: {', '.join(words)}")
