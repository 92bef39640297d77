# SPDX-License-Identifier: GPL-2.0-only
"""What `ptelab live --kernel` does: scenarios on a kernel under QEMU, held against the model of that kernel."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ptelab import bundled
from ptelab.checking import Options
from ptelab.litmus.profiles import base
from ptelab.live import counting, room
from ptelab.live.counting import Counting, ModelCounts
from ptelab.live.kernels import counts, debian, emulator, guest
from ptelab.live.kernels.counts import unable
from ptelab.live.kernels.debian import NoKernel
from ptelab.live.kernels.guest import Broken
from ptelab.live.kernels.model import Model
from ptelab.live.kernels.observed import Observed
from ptelab.live.kernels.scenarios import Scenario, read
from ptelab.live.kernels.versions import Kernel, Machine, Version, is_inlined, known, name_of, names
from ptelab.live.report import Entry
from ptelab.live.verdict import summary
from ptelab.native.sequential import Stopped

OK, FAILED, LIMIT, SKIPPED = 0, 1, 3, 4

_MACHINES = 2  # at a time

REPETITIONS = 3
"""How often a kernel performs each scenario: what most say is compared."""

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


@dataclass(frozen=True, slots=True)
class Work:
    """What a kernel has to perform, each with the file that it is from."""

    scenarios: Sequence[tuple[Path, Scenario]]
    counts: Sequence[tuple[Path, Counting]] = ()  # amd64's alone

    def on(self, machine: Machine) -> Work:
        """What can be performed on a machine."""
        counts = [(p, c) for p, c in self.counts if not unable(c)] if machine.name == "amd64" else []
        return Work(self.scenarios, counts)

    @property
    def functions(self) -> list[str]:
        """What is to be traced, under the model's names."""
        return list(dict.fromkeys(f for _, s in self.scenarios for f in s.functions))


def work(paths: Sequence[Path]) -> Work:
    """What files ask for; those whose names begin with “counts” have counts.  Raises SourceError."""
    counts = [path for path in paths if path.name.startswith("counts")]
    scenarios = [(path, s) for path in paths if path not in counts for s in read(path)]
    return Work(scenarios, [(path, c) for path in counts for c in counting.read(path)])


@dataclass(slots=True)
class Row:
    """A scenario: what the model and the kernel show, each as name → text."""

    kind: str  # scenario or count
    path: Path
    name: str
    question: str
    model: Mapping[str, str]
    kernel: Mapping[str, str]
    problem: str = ""
    disturbed: Sequence[Mapping[str, str]] = ()  # what the kernel showed, when that was not always the same
    observed: Observed | None = None  # of the kernel

    @property
    def differing(self) -> dict[str, tuple[str, str]]:
        """What differs: what the model and what the kernel says."""
        names = dict.fromkeys([*self.model, *self.kernel])
        pairs = {name: (self.model.get(name, "nothing"), self.kernel.get(name, "nothing")) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    @property
    def status(self) -> str:
        """ok, failed or disturbed."""
        if not self.problem and not self.kernel:
            return "disturbed"
        return "failed" if self.problem or self.differing else "ok"


BOOTS_MAX = 3
"""How often a machine is started that does not come to its end: emulators crash now and then."""


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


def boot(target: Target, todo: Work) -> Seen:
    """Boot a kernel that performs scenarios.  Raises NoKernel and Broken."""
    if absent := debian.missing(target.machine):
        raise NoKernel(f"not installed: {', '.join(absent)}")
    image = target.file
    if image is None:
        assert target.kernel is not None
        image = debian.image(target.kernel, target.machine)
    todo = todo.on(target.machine)
    orders = [guest.order(s) for _, s in todo.scenarios] + [counts.order(c) for _, c in todo.counts]
    functions = [counts.FUNCTION, *(name for f in todo.functions for name in names(f))]
    script = guest.script(orders * REPETITIONS, list(dict.fromkeys(functions)))
    start = time.monotonic()
    with room.directory() as place:
        init = place / "init"
        emulator.build(target.machine, init)
        for attempt in range(1, BOOTS_MAX + 1):
            try:
                lines = guest.said(emulator.boot(target.machine, target.cpu, image, init, script))
                break
            except Broken:
                if attempt == BOOTS_MAX or emulator.STOP.is_set():
                    raise
    version = guest.version_of(lines)
    kernel = known(version)
    if kernel is None:
        raise NoKernel(f"Linux {version[0]}.{version[1]} is older than what the model can go back to")
    if target.kernel not in (None, kernel):
        raise Broken(f"{image} is Linux {version[0]}.{version[1]}")
    return Seen(kernel, version, debian.number(image), time.monotonic() - start, lines)


def judge(target: Target, seen: Seen, todo: Work, options: Options) -> Comparison:
    """Hold what a kernel said against the model of it.  Raises Broken and SourceError."""
    todo = todo.on(target.machine)
    patches = (*(bundled.patch_path(p) for p in seen.kernel.patches), *options.patches)
    count = len(todo.scenarios) + len(todo.counts)
    blocks = guest.blocks(
        seen.lines, [*(s.name for _, s in todo.scenarios), *(c.name for _, c in todo.counts)] * REPETITIONS
    )
    repeated = [blocks[i::count] for i in range(count)]
    rows: list[Row] = []
    common: dict[str, str] = {}  # what the kernel calls it → what the model does
    if todo.scenarios:
        model = Model([s for _, s in todo.scenarios], target.profile, options.model, patches)
        traced = guest.functions_of(seen.lines)
        lacking: list[str] = []
        for f in todo.functions:
            name = name_of(f, seen.version)
            if name in traced and model.has(f):
                common[name] = f
            elif name is not None and not is_inlined(f, target.machine.name):
                lacking.append(f)
        rows = [_row(p, s, model, b, common, lacking) for (p, s), b in zip(todo.scenarios, repeated, strict=False)]
    if todo.counts:
        counted = ModelCounts([c for _, c in todo.counts], base(target.profile), options.model, patches)
        rows += [
            _count(p, c, counted, b) for (p, c), b in zip(todo.counts, repeated[len(todo.scenarios) :], strict=True)
        ]
    return Comparison(target, seen, rows, [f for f in todo.functions if f not in common.values()])


# What most repetitions show; nothing when there is no such thing.  And all when they do not agree.
def _usual(shown: Sequence[Mapping[str, str]]) -> tuple[int | None, list[Mapping[str, str]]]:
    often = max(range(len(shown)), key=lambda i: shown.count(shown[i]))
    different = [s for i, s in enumerate(shown) if s not in shown[:i]]
    return (often if 2 * shown.count(shown[often]) > len(shown) else None), different if len(different) > 1 else []


def _row(
    path: Path, scenario: Scenario, model: Model, blocks: Sequence[guest.Block], common: Mapping[str, str],
    lacking: Sequence[str],
) -> Row:  # fmt: skip
    asked = [f for f in common.values() if f in scenario.functions]
    seen = [guest.observed(scenario, block, common) for block in blocks]
    for each in seen:
        each.calls = guest.calls(each.calls, asked)
    usual, disturbed = _usual([each.lines() for each in seen])
    kernel = seen[usual or 0]
    row = Row("scenario", path, scenario.name, scenario.question, {}, kernel.lines() if usual is not None else {},
              disturbed=disturbed, observed=kernel)  # fmt: skip
    if missing := [f for f in scenario.functions if f in lacking]:
        row.problem = f"the kernel or the model has no function {missing[0]}"
        return row
    try:
        ours = model.observe(scenario, asked)
    except Stopped as error:
        row.problem = f"the model stops: {error}"
        return row
    ours.calls = guest.calls(ours.calls, asked)
    row.model = ours.lines(kernel.hidden)
    return row


def _count(path: Path, scenario: Counting, model: ModelCounts, blocks: Sequence[guest.Block]) -> Row:
    seen = [{"counted": counts.counted(block).show()} for block in blocks]
    usual, disturbed = _usual(seen)
    row = Row("count", path, scenario.name, scenario.question, {}, seen[usual] if usual is not None else {},
              disturbed=disturbed)  # fmt: skip
    try:
        row.model = {"counted": model.counts(scenario).show()}
    except Stopped as error:
        row.problem = f"the model stops: {error}"
    return row


def run(
    targets: Sequence[Target], paths: Sequence[Path], options: Options, as_json: bool, echo: Say, explain: Say,
    entries: list[Entry],
) -> int:  # fmt: skip
    """Compare kernels with the model, and print it.  The exit status.  What was compared is added to `entries`."""
    todo = work(paths)
    statuses: list[int] = []
    emulator.STOP.clear()
    with ThreadPoolExecutor(_MACHINES) as pool:
        try:
            booted = [pool.submit(boot, target, todo) for target in targets]
            for target, future in zip(targets, booted, strict=True):
                try:
                    comparison = judge(target, future.result(), todo, options)
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
                entries += [_entry(comparison, row, options) for row in comparison.rows]
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
    for kind in ("scenario", "count"):
        if statuses := [row.status for row in comparison.rows if row.kind == kind]:
            explain(summary(f"{kind}s", statuses))
    return FAILED if any(row.status == "failed" for row in comparison.rows) else OK


def _entry(comparison: Comparison, row: Row, options: Options) -> Entry:
    target = comparison.target
    words = [f"--kernel {target.file or comparison.seen.kernel.name}", f"--arch {target.machine.name}"]
    words += [f"--cpu {target.cpu}"] * (target.cpu != "max") + [f"--patch {p}" for p in options.patches]
    return Entry(
        row.kind, row.name, row.question,
        f"{comparison.seen.image} {target.machine.name}" + f" {target.cpu}" * (target.cpu != "max"),
        row.status, row.problem or _text(row.model), _text(row.kernel),
        f"ptelab live {' '.join([*words, str(row.path)])}",
    )  # fmt: skip


def _nothing(target: Target, status: str, why: str) -> Entry:
    words = f"--kernel {target.file or (target.kernel and target.kernel.name)} --arch {target.machine.name}"
    return Entry(
        "scenario", "every scenario", "", target.name, status, "", why, f"ptelab live {words} --cpu {target.cpu}"
    )


def _text(lines: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {said}" for name, said in lines.items())


def _lines(row: Row) -> list[str]:
    out = [f"{row.kind.capitalize()} {row.name}: {row.status}"]
    if row.problem:
        return [*out, f"!!! {row.problem}"]
    if row.disturbed:
        out += [f"  disturbed, the kernel says: {'; '.join(_text(said).splitlines())}" for said in row.disturbed]
    if row.kernel:
        differing = row.differing
        out += [f"  {name}: {said}" for name, said in row.kernel.items() if name not in differing]
        for name, (ours, theirs) in differing.items():
            out += [f"  {name}: {ours}", f"!!! the kernel says: {theirs}"]
    return out


def _json(comparison: Comparison, row: Row) -> dict[str, object]:
    target = comparison.target
    return {
        row.kind: row.name,
        "kernel": comparison.seen.image,
        "arch": target.machine.name,
        "cpu": target.cpu,
        "profile": target.profile,
        "status": row.status,
        "model": row.problem or dict(row.model),
        "measured": dict(row.kernel),
        "disturbed": [dict(said) for said in row.disturbed],
    }
