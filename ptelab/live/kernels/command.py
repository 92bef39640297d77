# SPDX-License-Identifier: GPL-2.0-only
"""What `ptelab live --kernel` does: scenarios on a kernel under QEMU, held against the model of that kernel."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ptelab import bundled
from ptelab.checking import Options
from ptelab.live.kernels import debian, emulator, guest
from ptelab.live.kernels.debian import NoKernel
from ptelab.live.kernels.guest import Broken
from ptelab.live.kernels.model import Model
from ptelab.live.kernels.observed import Observed, differences
from ptelab.live.kernels.scenarios import Scenario, read
from ptelab.live.kernels.versions import Kernel, Machine, Version, is_inlined, known, name_of, names
from ptelab.live.report import Entry
from ptelab.live.verdict import summary
from ptelab.native.sequential import Stopped

OK, FAILED, LIMIT, SKIPPED = 0, 1, 3, 4

_MACHINES = 2  # at a time

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Target:
    """A kernel on a machine with a CPU; `file` is an image that the user has."""

    kernel: Kernel | None
    machine: Machine
    cpu: str
    file: Path | None = None

    @property
    def name(self) -> str:
        """As a user calls it."""
        kernel = self.kernel.name if self.kernel else str(self.file)
        return f"{kernel} {self.machine.name} on {self.cpu}"

    @property
    def profile(self) -> str:
        """Of the model."""
        return self.machine.cpus[self.cpu][1]


@dataclass(slots=True)
class Row:
    """A scenario: what the model and the kernel show, and where they differ."""

    scenario: Scenario
    model: Observed | None
    kernel: Observed
    differing: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    problem: str = ""

    @property
    def status(self) -> str:
        """ok or failed."""
        return "failed" if self.differing or self.problem else "ok"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a kernel said when it performed scenarios."""

    kernel: Kernel
    version: Version
    image: str
    seconds: float
    lines: list[tuple[str, str]]


@dataclass(slots=True)
class Comparison:
    """All scenarios on one kernel."""

    target: Target
    seen: Seen
    rows: list[Row]
    untraced: list[str]  # functions that the kernel has none of, or has inlined


def boot(target: Target, scenarios: Sequence[Scenario]) -> Seen:
    """Boot a kernel that performs scenarios.  Raises NoKernel and Broken."""
    if absent := debian.missing(target.machine):
        raise NoKernel(f"not installed: {', '.join(absent)}")
    image = target.file
    if image is None:
        assert target.kernel is not None
        image = debian.image(target.kernel, target.machine)
    script = guest.script(scenarios, [name for f in _functions(scenarios) for name in names(f)])
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ptelab-") as work:
        init = Path(work) / "init"
        emulator.build(target.machine, init)
        try:
            lines = guest.said(emulator.boot(target.machine, target.cpu, image, init, script))
        except Broken:  # one more time: emulators have crashed for less
            lines = guest.said(emulator.boot(target.machine, target.cpu, image, init, script))
    version = guest.version_of(lines)
    kernel = known(version)
    if kernel is None:
        raise NoKernel(f"Linux {version[0]}.{version[1]} is older than what the model can go back to")
    if target.kernel not in (None, kernel):
        raise Broken(f"{image} is Linux {version[0]}.{version[1]}")
    return Seen(kernel, version, debian.number(image), time.monotonic() - start, lines)


def judge(target: Target, seen: Seen, scenarios: Sequence[Scenario], options: Options) -> Comparison:
    """Hold what a kernel said against the model of it.  Raises Broken and SourceError."""
    patches = (*(bundled.patch_path(p) for p in seen.kernel.patches), *options.patches)
    model = Model(scenarios, target.profile, options.model, patches)
    traced = guest.functions_of(seen.lines)
    common: dict[str, str] = {}  # what the kernel calls it → what the model does
    lacking: list[str] = []
    for f in _functions(scenarios):
        name = name_of(f, seen.version)
        if name in traced and model.has(f):
            common[name] = f
        elif name is not None and not is_inlined(f, target.machine.name):
            lacking.append(f)
    observed = guest.results(seen.lines, scenarios, common)
    rows = [_row(s, model, observed[s.name], list(common.values()), lacking) for s in scenarios]
    return Comparison(target, seen, rows, [f for f in _functions(scenarios) if f not in common.values()])


def _functions(scenarios: Sequence[Scenario]) -> list[str]:
    return list(dict.fromkeys(f for s in scenarios for f in s.functions))


def _row(scenario: Scenario, model: Model, kernel: Observed, functions: Sequence[str], lacking: Sequence[str]) -> Row:
    if missing := [f for f in scenario.functions if f in lacking]:
        return Row(scenario, None, kernel, problem=f"the kernel or the model has no function {missing[0]}")
    asked = [f for f in functions if f in scenario.functions]
    kernel.calls = guest.calls(kernel.calls, asked)
    try:
        ours = model.observe(scenario, asked)
    except Stopped as error:
        return Row(scenario, None, kernel, problem=f"the model stops: {error}")
    ours.calls = guest.calls(ours.calls, asked)
    return Row(scenario, ours, kernel, differences(ours, kernel))


def run(
    targets: Sequence[Target], paths: Sequence[Path], options: Options, as_json: bool, echo: Say, explain: Say,
    entries: list[Entry],
) -> int:  # fmt: skip
    """Compare kernels with the model, and print it.  The exit status.  What was compared is added to `entries`."""
    scenarios = [(path, s) for path in paths for s in read(path)]
    statuses: list[int] = []
    emulator.STOP.clear()
    with ThreadPoolExecutor(_MACHINES) as pool:
        try:
            booted = [pool.submit(boot, target, [s for _, s in scenarios]) for target in targets]
            for target, future in zip(targets, booted, strict=True):
                try:
                    comparison = judge(target, future.result(), [s for _, s in scenarios], options)
                except NoKernel as error:
                    explain(f"Kernel {target.name} skipped: {error}")
                    statuses.append(SKIPPED)
                    entries.append(_nothing(target, "skipped", str(error)))
                    continue
                except Broken as error:
                    explain(f"!!! Kernel {target.name}: no result, since the emulation failed: {error}")
                    statuses.append(LIMIT)
                    entries.append(_nothing(target, "incomplete", f"the emulation failed: {error}"))
                    continue
                statuses.append(_print(comparison, as_json, echo, explain))
                rows = zip(scenarios, comparison.rows, strict=True)
                entries += [_entry(comparison, row, path, options) for (path, _), row in rows]
        except BaseException:
            emulator.STOP.set()
            pool.shutdown(cancel_futures=True)
            raise
    return next((s for s in (FAILED, LIMIT, OK) if s in statuses), SKIPPED)


def _print(comparison: Comparison, as_json: bool, echo: Say, explain: Say) -> int:
    target, seen = comparison.target, comparison.seen
    explain(f"Kernel {target.name}: {seen.image}, {seen.seconds:.1f} s, against the model of {target.profile}")
    if comparison.untraced:
        explain(f"Not compared, since this kernel or the model of it has none: {', '.join(comparison.untraced)}")
    for row in comparison.rows:
        echo(json.dumps(_json(comparison, row), ensure_ascii=False) if as_json else "\n".join(_lines(row)))
    statuses = [row.status for row in comparison.rows]
    explain(summary("scenarios", statuses))
    return FAILED if "failed" in statuses else OK


def _entry(comparison: Comparison, row: Row, path: Path, options: Options) -> Entry:
    target = comparison.target
    words = [f"--kernel {target.file or comparison.seen.kernel.name}", f"--arch {target.machine.name}"]
    words += [f"--cpu {target.cpu}"] * (target.cpu != "max") + [f"--patch {p}" for p in options.patches] + [str(path)]
    model = row.problem or _text(row.model.lines(row.kernel.hidden) if row.model else {})
    return Entry(
        "scenario", row.scenario.name, row.scenario.question,
        f"{comparison.seen.image} {target.machine.name}" + f" {target.cpu}" * (target.cpu != "max"),
        row.status, model, _text(row.kernel.lines()), f"ptelab live {' '.join(words)}",
    )  # fmt: skip


def _nothing(target: Target, status: str, why: str) -> Entry:
    words = f"--kernel {target.file or (target.kernel and target.kernel.name)} --arch {target.machine.name}"
    return Entry(
        "scenario", "every scenario", "", target.name, status, "", why, f"ptelab live {words} --cpu {target.cpu}"
    )


def _text(lines: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {said}" for name, said in lines.items())


def _lines(row: Row) -> list[str]:
    out = [f"Scenario {row.scenario.name}: {row.status}"]
    if row.problem:
        return [*out, f"!!! {row.problem}"]
    for name, said in row.kernel.lines().items():
        if name not in row.differing:
            out.append(f"  {name}: {said}")
    for name, (ours, theirs) in row.differing.items():
        out += [f"  {name}: {ours}", f"!!! the kernel says: {theirs}"]
    return out


def _json(comparison: Comparison, row: Row) -> dict[str, object]:
    target = comparison.target
    return {
        "scenario": row.scenario.name,
        "kernel": comparison.seen.image,
        "arch": target.machine.name,
        "cpu": target.cpu,
        "profile": target.profile,
        "status": row.status,
        "model": row.problem or (row.model.lines(row.kernel.hidden) if row.model else {}),
        "measured": row.kernel.lines(),
    }
