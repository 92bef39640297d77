# SPDX-License-Identifier: GPL-2.0-only
"""`ptelab live`: litmus tests on the running kernel."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ptelab import bundled
from ptelab.checking import Options
from ptelab.commands.shared import BadInput, memory_default

if TYPE_CHECKING:
    from ptelab.live.kernels.command import Target
    from ptelab.live.report import Entry


@click.command()
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...")
@click.option("--patch", "patches", multiple=True, metavar="ID|FILE", help="Apply a patch to the model.")
@click.option("--model", type=click.Path(path_type=Path), metavar="DIR", help="Use this copy of the model.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=0.1, show_default=True, help="Per test.")
@click.option("--directory", type=click.Path(path_type=Path), metavar="DIR", help="Where files are made; on a disk.")
@click.option(
    "--kernel", "kernels", multiple=True, metavar="V|FILE", help="Boot Debian's Linux V, or an image, in QEMU."
)
@click.option(
    "--arch", "arches", multiple=True, metavar="ARCH", help="Of --kernel: amd64, arm64, s390x.  [default: amd64]"
)
@click.option("--cpu", metavar="CPU", help="Of --kernel: QEMU's model of the CPU.  [default: max]")
@click.option(
    "--report", type=click.Path(path_type=Path), metavar="FILE", help="Write a page, FILE.html, and FILE.txt."
)
@click.option(
    "--kselftest",
    "tree",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Run the mm selftests of a kernel tree instead, and ask the model the same.",
)
@click.option("--swap", is_flag=True, help="Make some swap for tests that need it, if there is none.")
@click.option("--unmerge", is_flag=True, help="Of --kselftest: may take apart what KSM has merged on this machine.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a test, a line each.")
def live(paths: tuple[str, ...], patches: tuple[str, ...], model: Path | None, seconds: float,
         directory: Path | None, kernels: tuple[str, ...], arches: tuple[str, ...], cpu: str | None,
         report: Path | None, tree: Path | None, swap: bool, unmerge: bool, as_json: bool) -> int:  # fmt: skip
    """Hold the model against the running kernel: litmus tests and, in *.toml, counts.  Without FILE all bundled ones.

    Real threads and processes run the columns again and again.  An outcome that the model forbids fails; one that was
    never seen is only reported.  Counts of events must be equal.  What cannot be done here is skipped, with the reason.
    With --kernel, scenarios run on that kernel under QEMU instead.

    With --kselftest, the kernel's own tests are built and run, all or those whose names stand in place of FILE (cow,
    mkdirty, …); for each of their cases a line says whether a litmus test asks the same, and whether the model's answer
    is the kernel's.

    No setting of the system is changed; those that a selftest alters are restored.  With --swap, there is swap while
    tests run that need it: a small file, or memory where files are no good for it, of the lowest priority.  Root only.
    Under pressure pages of other processes may go there; they come back when it is taken away.

    Exit status: 0 as the model says, 1 not, 2 bad input, 3 the model met a limit or a selftest did not end, 4 all
    skipped.
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
    entries: list[Entry] = []
    if report is not None and not report.parent.is_dir():
        raise BadInput(f"--report {report}: no such directory")
    if tree is not None:
        if kernels or arches or cpu:
            raise BadInput("--kselftest is about the running kernel; leave --kernel, --arch and --cpu out")
        if not tree.is_dir():
            raise BadInput(f"--kselftest {tree}: no such directory")
        from ptelab.live.kselftest.command import kselftest

        status = kselftest(tree, paths, options, swap, unmerge, as_json, click.echo, explain, entries)
        return _written(report, entries, status, explain)
    if unmerge:
        raise BadInput("--unmerge is of the kernel's tests; add --kselftest DIR")
    if kernels:
        if swap:
            raise BadInput("--swap is about the running kernel; leave --kernel out")
        from ptelab.live.kernels import command as others

        files = [Path(p) for p in paths] or sorted((bundled.directory("live") / "kernels").glob("*.toml"))
        targets = _targets(kernels, arches, cpu)
        status = others.run(targets, files, options, as_json, click.echo, explain, entries)
        return _written(report, entries, status, explain)
    if arches or cpu:
        raise BadInput("--arch and --cpu are of a kernel that is booted; add --kernel")
    counts = [Path(p) for p in paths if p.endswith(".toml")]
    tests = [p for p in paths if not p.endswith(".toml")]
    files = bundled.litmus_files(tests) if tests or not counts else []
    if not paths:
        counts = sorted(bundled.directory("live").glob("*.toml"))
    status = command.live([*files, *counts], options, seconds, directory, swap, as_json, click.echo, explain, entries)
    return _written(report, entries, status, explain)


def _written(report: Path | None, entries: list[Entry], status: int, explain: Callable[[str], object]) -> int:
    if report is not None and entries:
        from ptelab.live.report import write

        try:
            explain("Written: " + ", ".join(map(str, write(report.with_suffix(".html"), entries))))
        except OSError as error:
            raise BadInput(f"--report {report}: {error.strerror}") from error
    return status


def _targets(kernels: tuple[str, ...], arches: tuple[str, ...], cpu: str | None) -> list[Target]:
    from ptelab.live.kernels.command import Target
    from ptelab.live.kernels.versions import KERNELS, MACHINES

    machines = arches or ("amd64",)
    for arch in machines:
        if arch not in MACHINES:
            raise BadInput(f"--arch {arch}; write {', '.join(MACHINES)} instead")
        if cpu is not None and cpu not in MACHINES[arch].cpus:
            raise BadInput(f"--cpu {cpu}; write {', '.join(MACHINES[arch].cpus)} for {arch} instead")
    found = []
    for word in kernels:
        file = None if word in KERNELS else Path(word)
        if file is not None and not file.is_file():
            raise BadInput(f"--kernel {word}: no such file; write {', '.join(KERNELS)} instead")
        found += [Target(KERNELS.get(word), MACHINES[arch], cpu or "max", file) for arch in machines]
    return found
