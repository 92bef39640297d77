# SPDX-License-Identifier: GPL-2.0-only
"""What the commands have in common: exit codes, sizes and limits, the line of progress."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from ptelab import bundled, checking, reduce
from ptelab.checking import Options
from ptelab.exploration import Exploration
from ptelab.frontend import DialectError
from ptelab.layout import LayoutError
from ptelab.link import LinkError
from ptelab.litmus import build
from ptelab.litmus.profiles import PROFILES
from ptelab.litmus.resolve import Test
from ptelab.litmus.syntax import LitmusError
from ptelab.source import SourceError

OK, FAILED, BAD_INPUT, LIMIT, SKIPPED = range(5)


class BadInput(Exception):
    """Something that the user gave cannot be used; one line says what and why."""


BAD_INPUT_ERRORS = (LitmusError, DialectError, SourceError, LinkError, LayoutError, BadInput)
"""What says that the user gave something that cannot be used."""


def is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # None: the caller has closed it


class Size(click.ParamType[int]):
    """A number of bytes: 500M, 2G, 1.5G."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip().upper().removesuffix("IB").removesuffix("B")
        factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}.get(text[-1:], 1)
        try:
            size = int(float(text.rstrip("KMGT")) * factor)
        except (ValueError, OverflowError):
            size = 0
        if size <= 0:
            self.fail(f"{value!r} is no size; write 500M or 2G instead", param, ctx)
        return size


class Seconds(click.FloatRange):
    """A number of seconds above zero; what is no number is refused, too."""

    def __init__(self) -> None:
        super().__init__(0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if found != found:
            self.fail(f"{value!r} is no time; write a number of seconds instead", param, ctx)
        return found


def memory_default() -> int:
    """Three quarters of what the machine has free, so that the limit is met before the kernel's."""
    free = 4 << 30
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) << 10
    with contextlib.suppress(OSError, ValueError):
        free = min(free, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return free * 3 // 4


F = TypeVar("F", bound=Callable[..., Any])


class Names(click.ParamType[frozenset[str]]):
    """Names of reductions, separated by commas."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        names = frozenset(w.strip() for w in str(value).split(","))
        if unknown := sorted(names - set(reduce.REDUCTIONS)):
            known = ", ".join(reduce.REDUCTIONS)
            self.fail(f"no reduction is called {unknown[0]!r}; write some of {known} instead", param, ctx)
        return names


def reduction_options(command: F) -> F:
    """`--no-reduce` and `--without NAME`."""
    everything = click.option(
        "--no-reduce", is_flag=True, help="Switch all reductions off but local, which is what a step is."
    )
    some = click.option(
        "--without", type=Names(), multiple=True, metavar="NAME",
        help=f"Switch a reduction off: {', '.join(reduce.REDUCTIONS)}.",
    )  # fmt: skip
    return everything(some(command))


def reduction_words(no_reduce: bool, without: Iterable[frozenset[str]]) -> list[str]:
    """The options again, for a command that shall do the same."""
    names = sorted(frozenset().union(*without))
    return [*(["--no-reduce"] if no_reduce else []), *(["--without", ",".join(names)] if names else [])]


def model_options(command: F) -> F:
    """The options that say which model is meant."""
    options = [
        click.option("--arch", default="x86_64", metavar="A", help="Profile, such as x86_64 or arm64+hafdbs."),
        click.option(
            "--patch", "patches", multiple=True, metavar="ID|FILE", help="Apply a bundled patch or a diff of the model."
        ),
        click.option("--model", type=click.Path(path_type=Path), metavar="DIR", help="Use this copy of the model."),
        reduction_options,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def options_of(
    arch: str,
    patches: Sequence[str],
    model: Path | None,
    no_reduce: bool,
    without: Sequence[frozenset[str]],
    **more: Any,
) -> Options:
    """What the options of `model_options` say, with `more` of Options' members."""
    checking.check_arch(arch)
    if model is not None and not model.is_dir():
        raise BadInput(f"{model}: no such directory; --model takes a copy of the model")
    paths = tuple(bundled.patch_path(word) for word in patches)
    off = frozenset().union(*without)
    return Options(arch=arch, model=model, patches=paths, reduce=not no_reduce, without=off, **more)


def profile_list(words: str) -> tuple[str, ...]:
    """The profiles that `--arch` names: several, separated by commas, or all that there are."""
    if words == "all":
        return tuple(PROFILES)
    names = tuple(w.strip() for w in words.split(","))
    for name in names:
        checking.check_arch(name)
    return names


def checkpoint_options(command: F) -> F:
    """`--checkpoint DIR` and `--resume`."""
    resume = click.option("--resume", is_flag=True, help="Go on from the checkpoint in DIR, if there is one.")
    directory = click.option(
        "--checkpoint", "checkpoints", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
        help="Write down in DIR, now and then and at a limit, how far a run has come.",
    )  # fmt: skip
    return directory(resume(command))


def fingerprint_option(command: F) -> F:
    """`--fingerprint BITS`."""
    return click.option(
        "--fingerprint", type=click.IntRange(16, 64), metavar="BITS", is_flag=False, flag_value=64,
        help="Keep so many bits of each state (64 without BITS): less memory, exit 3, and the odds of a missed state.",
    )(command)  # fmt: skip


def check_fingerprint(bits: int | None, checkpoints: Path | None, engine: str) -> None:
    """Refuse what cannot be done with fingerprints."""
    if bits and engine != "native":
        raise BadInput("--fingerprint needs the native engine; leave --engine out")
    if bits and checkpoints is not None:
        raise BadInput("--checkpoint keeps states, --fingerprint does not; leave one of them out")


def nothing_to_resume(options: Options, found: Exploration) -> list[str]:
    """A line that says so when a run that should have gone on has begun anew."""
    if not options.resume or found.resumed_states:
        return []
    return [f"Nothing to resume: {options.checkpoints} has no checkpoint of this program, model and version"]


def check_checkpoints(checkpoints: Path | None, resume: bool, engine: str, coverage: bool = False) -> None:
    """Refuse what cannot be done with checkpoints."""
    if resume and checkpoints is None:
        raise BadInput("--resume from where? write --checkpoint DIR --resume instead")
    if checkpoints is not None and engine != "native":
        raise BadInput("--checkpoint is written by the native engine; leave --engine out")
    if checkpoints is not None and coverage:
        raise BadInput("--checkpoint does not keep what --coverage and --explain note; leave one of them out")


def _megabytes(number: int) -> str:
    return f"{number / (1 << 20):,.0f}"


class ProgressLine:
    """A line on the terminal while an exploration runs: states, rate, queue, depth, memory and its limit.

    When it ends is not estimated: no number of these says how many states there are.
    """

    def __init__(self, limit_bytes: int = 0) -> None:
        from rich.console import Console

        self._limit = f" of {_megabytes(limit_bytes)}" if limit_bytes else ""
        self._status = Console(stderr=True).status("")
        self.clear()

    def clear(self) -> None:
        """Take the line away; the next exploration starts its own clock."""
        self._status.stop()
        self._started = 0.0

    def say(self, words: str) -> None:
        """Let the line say this."""
        self._status.update(words)
        self._status.start()

    def __call__(self, p: checking.Progress) -> None:
        if not self._started:
            self._started = time.monotonic()
            self._status.start()
        self._status.update(self.words(p, time.monotonic() - self._started))

    def words(self, p: checking.Progress, seconds: float) -> str:
        """What the line says."""
        rate = p.states / max(seconds, 0.1)
        memory = f"  {_megabytes(p.memory_bytes)}{self._limit} MB" if p.memory_bytes else ""
        return f"{p.states:,} states  {rate:,.0f}/s  queue {p.queue:,}  depth {p.depth}{memory}"


def read_test(path: Path) -> Test:
    """The test that a litmus file holds."""
    try:
        return build.read(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error


def check_writable(path: Path) -> None:
    """Refuse an output file before the work is done instead of after it."""
    target = path if path.exists() else path.parent
    if path.is_dir() or not target.exists() or not os.access(target, os.W_OK):
        raise BadInput(f"{path}: cannot be written")
