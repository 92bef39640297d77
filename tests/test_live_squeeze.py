# SPDX-License-Identifier: GPL-2.0-only
"""`ptelab live` on squeezes of memory: what is left of a file, and that nothing is left of us."""

from __future__ import annotations

import difflib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_live import hear_interrupts

from ptelab.bundled import directory
from ptelab.cli import cli
from ptelab.live import report
from ptelab.live.aging import ModelSqueezes
from ptelab.live.architectures import running
from ptelab.live.cgroup import Group, group
from ptelab.live.column import Unable
from ptelab.live.report import Entry
from ptelab.live.running import on_disk
from ptelab.live.squeezing import Left, Squeezing, read, show
from ptelab.source import bundled_model

pytestmark = pytest.mark.skipif(running() is None, reason="the agent has no machine code for this architecture")

SMALL = """
[young]
question = "Are pages that were touched reclaimed like the others?"
pages = 4096
squeezed = [8]

[old]
question = "Do pages that were touched stay, and others go?"
old = true
pages = 4096
squeezed = [8]
"""


def squeeze(tmp_path: Path, *words: str) -> tuple[int, dict[str, dict[str, Any]], str]:
    """The results of SMALL by name; skips where they cannot be had."""
    file = tmp_path / "some.toml"
    file.write_text(SMALL, encoding="utf-8")
    result = CliRunner().invoke(cli, ["live", str(file), "--json", *words])
    if result.exit_code == 4:
        assert "skipped: " in result.output
        pytest.skip(result.output)
    records = [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]
    return result.exit_code, {r["squeeze"]: r for r in records}, result.output


def parent() -> Path:
    """Where runs make cgroups; skips where none can be made."""
    try:
        with group() as made:
            return made.path.parent
    except Unable as error:
        pytest.skip(str(error))


def test_the_model_keeps_what_the_kernel_keeps(tmp_path: Path) -> None:
    """The model's reclaim must not take other pages than the kernel's: touched ones only where all entries are young."""
    page = tmp_path / "report.html"
    status, found, text = squeeze(tmp_path, "--report", str(page))
    assert status == 0, text
    (young,), (old,) = found["young"]["measured"], found["old"]["measured"]
    assert 100 < young["touched"] < 140 and old["touched"] > 250
    assert abs(young["touched"] + young["others"] - 2048) < 150 and abs(old["touched"] + old["others"] - 2048) < 150
    assert found["young"]["arm64+haf"][0]["touched"] == 256
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") == 2 and "<script" not in html and "clear_refs" in html
    said = page.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    # The sides may differ by some pages, so that the report has both of them, or one line for both.
    for scenario in read(tmp_path / "some.toml"):
        for side in ("measured", "model"):
            (line,) = show(scenario, [Left(**left) for left in found[scenario.name][side]])
            assert f"      {line}" in said


def test_a_report_says_once_what_both_sides_say() -> None:
    """A report must not hide where the model and the kernel differ, nor repeat what they have in common."""
    same = Entry("squeeze", "one", "Is it so?", "Linux", "ok", "-8 MB: 1", "-8 MB: 1", "ptelab live one")
    assert "    both say\n      -8 MB: 1\n    to repeat" in report.text([same])
    other = report.text([replace(same, seen="-8 MB: 2")])
    assert "    the model says\n      -8 MB: 1\n    the kernel says\n      -8 MB: 2\n" in other
    assert "both say" not in other


def test_a_wrong_age_is_noticed(tmp_path: Path) -> None:
    # One young bit: with it the pages that were touched would stay.
    """A model of x86 whose faults map pages around them as old must not pass for the kernel."""
    file = "linux/arch/x86/include/asm/pgtable.py"
    before = (bundled_model() / file).read_text(encoding="utf-8")
    start = before.index("def arch_wants_old_prefaulted_pte")
    changed = before[:start] + before[start:].replace("return False", "return True", 1)
    names = f"a/model/{file}", f"b/model/{file}"
    diff = "".join(difflib.unified_diff(before.splitlines(True), changed.splitlines(True), *names))
    patch = tmp_path / "wrong.patch"
    patch.write_text("Subject: a wrong model\n\n" + diff, encoding="utf-8")
    if platform.machine() != "x86_64":
        pytest.skip("the wrong model is one of x86")
    status, found, text = squeeze(tmp_path, "--patch", str(patch))
    # The other one may be disturbed, where something else wants memory; blamed it must not be.
    assert status == 1 and found["young"]["status"] == "failed" and found["old"]["status"] in ("ok", "disturbed"), text


def test_the_model_alone_keeps_the_figure() -> None:
    """The model of reclaim must not lose the share of touched pages that was measured on Linux."""
    scenarios = read(directory("live") / "squeeze.toml")
    model = ModelSqueezes(scenarios, "x86_64", None, ())
    young, old = (model.left(s) for s in scenarios)
    assert all(abs(left.touched - seen) <= 12 for left, seen in zip(young, (769, 511, 252), strict=True))
    assert [left.touched for left in old] == [1024] * 3
    assert all(
        abs(left.touched + left.others - kept) <= 140 for left, kept in zip(young, (12288, 8192, 4096), strict=True)
    )


@pytest.mark.parametrize(("profile", "touched"), [("arm64+haf", 256), ("s390", 126)])
def test_pages_stay_where_they_are_mapped_old(profile: str, touched: int) -> None:
    # Their TLBs' flushes are sets of pages, of which a word holds 64: what is shifted beyond it must not matter.
    """Of other architectures only arm64 with a hardware access flag may keep all pages that were touched."""
    scenario = Squeezing("small", "", 4096, 16, False, (8,))
    (left,) = ModelSqueezes([scenario], profile, None, ()).left(scenario)
    assert abs(left.touched - touched) <= 4 and abs(left.touched + left.others - 2048) < 150


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    """No cgroup and no process may be left when a run is interrupted or killed."""
    place = parent()
    if not on_disk(tmp_path):
        pytest.skip("files are in memory here")
    file = tmp_path / "some.toml"
    file.write_text(SMALL.replace("[8]", "[8, 8, 8, 8, 8, 8, 8, 8]").replace("4096", "16384"), encoding="utf-8")
    command = [sys.executable, "-m", "ptelab", "live", str(file), "--directory", str(tmp_path)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, preexec_fn=hear_interrupts) as run:
        made: set[Path] = set()
        while not made and run.poll() is None:
            made = set(place.glob(f"ptelab-{run.pid}-*"))
            time.sleep(0.01)
        members = [int(word) for m in made if m.is_dir() for word in (m / "cgroup.procs").read_text("ascii").split()]
        run.send_signal(number)
    deadline = time.monotonic() + 10
    left = list(made)
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = list(place.glob(f"ptelab-{run.pid}-*"))
    assert made and not left
    assert not any(os.path.exists(f"/proc/{m}") for m in members)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nsqueezed = [64]\n", "megabytes below the file's 64"),
        ("[a]\nsqueezed = [1]\nstride = 3\n", "pages and stride"),
        ("[a]\nsqueezed = [1]\nwindow = 3\n", "write the keys"),
    ],
)
def test_a_squeeze_that_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A squeeze with sizes that do not fit must not be performed."""
    file = tmp_path / "some.toml"
    file.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(cli, ["live", str(file)])
    assert result.exit_code == 2 and message in result.output


def test_version_2_is_asked_for_a_batch_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Asked for 16 MB at once, Linux 6.1 takes up to a third more.
    """The kernel must not take more than a limit would make it take."""
    batch = 32 * 4096
    usage = iter([100 * batch, 100 * batch, 99 * batch, 98 * batch])
    monkeypatch.setattr(Group, "usage", lambda _: next(usage))
    Group(tmp_path, True).squeeze(2 * batch)
    assert (tmp_path / "memory.reclaim").read_text() == str(batch)
    assert not list(usage)
