# SPDX-License-Identifier: GPL-2.0-only
"""`ptelab live` on squeezes of memory: what is left of a file, and that nothing is left of us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from ptelab.cli import cli
from ptelab.live.architectures import running
from ptelab.live.cgroup import group
from ptelab.live.column import Unable
from ptelab.live.running import on_disk

pytestmark = pytest.mark.skipif(running() is None, reason="the agent has no machine code for this architecture")

SMALL = """
[small]
question = "Do pages that were touched stay, and others go?"
old = true
pages = 4096
squeezed = [8]
"""


def parent() -> Path:
    """Where runs make cgroups; skips where none can be made."""
    try:
        with group() as made:
            return made.path.parent
    except Unable as error:
        pytest.skip(str(error))


def test_touched_pages_stay_when_the_others_are_old(tmp_path: Path) -> None:
    """Reclaim must not take a page whose entry is young while there are as many whose entries are old."""
    file = tmp_path / "some.toml"
    file.write_text(SMALL, encoding="utf-8")
    page = tmp_path / "report.html"
    result = CliRunner().invoke(cli, ["live", str(file), "--json", "--report", str(page)])
    if result.exit_code == 4:
        assert "skipped: " in result.output
        pytest.skip(result.output)
    record = json.loads(next(line for line in result.output.splitlines() if line.startswith("{")))
    (left,) = record["measured"]
    assert left["touched"] >= 250 and abs(left["others"] + left["touched"] - 2048) < 150
    assert "<svg" in page.read_text(encoding="utf-8") and "clear_refs" in page.with_suffix(".txt").read_text("utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    """No cgroup and no process may be left when a run is interrupted or killed."""
    place = parent()
    if not on_disk(tmp_path):
        pytest.skip("files are in memory here")
    file = tmp_path / "some.toml"
    file.write_text(SMALL.replace("[8]", "[8, 8, 8, 8, 8, 8, 8, 8]").replace("4096", "16384"), encoding="utf-8")
    command = [sys.executable, "-m", "ptelab", "live", str(file), "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
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
