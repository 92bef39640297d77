# SPDX-License-Identifier: GPL-2.0-only
"""Check one test: build it, let an engine explore it, judge what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ptelab import reduce, search
from ptelab.exploration import Exploration
from ptelab.litmus.build import Built, build
from ptelab.litmus.judge import Verdict, judge, named_flags
from ptelab.litmus.observe import Observation
from ptelab.litmus.profiles import PROFILES, covers
from ptelab.litmus.resolve import Test, known
from ptelab.machine import Machine
from ptelab.scenario import Scenario
from ptelab.source import SourceError

EngineName: TypeAlias = Literal["native", "machine"]
ENGINES: tuple[EngineName, ...] = ("native", "machine")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an exploration has come, whichever engine explores."""

    states: int
    queue: int
    depth: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Options:
    """How tests are checked."""

    arch: str = "x86_64"
    model: Path | None = None
    patches: tuple[Path, ...] = ()
    edits: tuple[tuple[str, str], ...] = ()  # (path in the model, other text): mutants
    watch: tuple[Observation, ...] = ()  # what outcomes show besides what the test asks for
    engine: EngineName = "native"
    reduce: bool = True
    without: frozenset[str] = frozenset()  # reductions that are off, by name
    threads: int = 1
    memory_bytes: int = 2 << 30
    whole_process: bool = False  # whether that is for all that the process has; the native engine knows
    time_s: float | None = None
    progress: Callable[[Progress], None] | None = field(default=None, compare=False)
    stop_at_flag: bool = False  # at one that the test's condition does not name; the native engine does
    coverage: bool = False  # note which lines of the model are executed; the native engine does
    checkpoints: Path | None = None  # the directory for what stopped runs go on from; the native engine does
    resume: bool = False
    fingerprint: int = 0  # bits of a state to keep, and never call it complete; 0: all


def check_arch(arch: str) -> None:
    """Refuse an architecture that nobody knows."""
    if arch not in PROFILES:
        raise SourceError(f"unknown architecture '{arch}'; write {known(PROFILES)} instead")


def skipped(test: Test, arch: str) -> str:
    """Why a test cannot be checked on an architecture; empty when it can."""
    cpus_max = PROFILES[arch].cpus_max
    if cpus_max is not None and len({c.cpu for c in test.columns}) > cpus_max:
        return f"{arch} has {cpus_max} CPU(s)"
    if not covers(test.arches, arch):
        return f"the test is about {', '.join(test.arches)}, not {arch}"
    return ""


def prepare(test: Test, options: Options) -> Built:
    """The test as a scenario."""
    reductions = reduce.chosen(options.reduce, options.without)
    return build(test, options.arch, options.model, options.patches, reductions, dict(options.edits), options.watch)


def explore(built: Built, options: Options) -> Exploration:
    """Explore a test's scenario with the engine that the options name."""
    return explore_scenario(built.scenario, options, named_flags(built.test) if options.stop_at_flag else None)


def explore_scenario(scenario: Scenario, options: Options, may_raise: set[str] | None = None) -> Exploration:
    """Explore any scenario; given the flags that may be raised, only up to one that may not."""
    machine = Machine(scenario)
    report = options.progress
    if options.engine == "machine":
        found = search.explore(
            machine,
            time_s=options.time_s,
            states_max=max(1, options.memory_bytes // BYTES_PER_STATE),
            progress=report and (lambda found, queue: report(Progress(found.states, queue, found.depth, 0))),
        )
        found.symmetry = machine.told_symmetry()
        return found
    from ptelab.native.checkpoint import CheckpointError
    from ptelab.native.engine import Engine  # LLVM takes a while to load, and only this engine needs it

    engine = Engine(machine, options.threads, options.memory_bytes)
    engine.coverage, engine.whole_process = options.coverage, options.whole_process
    engine.may_raise = may_raise
    engine.checkpoints, engine.resume = options.checkpoints, options.resume
    engine.fingerprint = options.fingerprint
    try:
        found = engine.run(
            options.time_s,
            report and (lambda p: report(Progress(p.states, p.queue, p.depth, p.memory_bytes))),
        )
        found.symmetry = machine.told_symmetry()
        return found
    except CheckpointError as error:
        raise SourceError(str(error)) from error


BYTES_PER_STATE = 2000
"""What a state costs the reference machine, roughly: it stores tuples of Python's integers."""


def check(test: Test, options: Options) -> tuple[Built, Verdict]:
    """Build, explore and judge a test."""
    test = test.on(options.arch)
    built = prepare(test, options)
    return built, judge(test, built.generated.observations, explore(built, options))
