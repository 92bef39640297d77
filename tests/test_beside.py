# SPDX-License-Identifier: GPL-2.0-only
"""Tests checked in several processes: the same words in the same order, and an end to all of them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ptelab import beside
from ptelab.cli import cli

TESTS = ("anon_load+store", "store+munmap+writeback", "store+writeback", "cow+load")


HEARS_INTERRUPTS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is told to ignore it
from ptelab.cli import main
main()
"""


def _square(number: int) -> int:
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_keep_the_order_of_the_work(jobs: int) -> None:
    """No result may stand in another's place, however many processes there are."""
    assert list(beside.in_order(_square, range(7), jobs)) == [0, 1, 4, 9, 16, 25, 36]


def test_a_killed_process_is_noticed() -> None:
    """A process that the kernel killed must not be waited for for ever."""
    with pytest.raises(beside.BrokenProcessPool):
        list(beside.in_order(_square, [1, -1, 2], 2))


def test_two_jobs_say_what_one_says() -> None:
    """Neither words, nor counts, nor their order may depend on the number of processes."""
    said = []
    for jobs in ("1", "2"):
        result = CliRunner().invoke(cli, ["check", *TESTS, "--arch", "x86_64,s390", "--jobs", jobs, "--threads", "1"])
        assert result.exit_code == 0, result.output
        said.append(re.sub(r"(?m)^Time .*$", "", result.output))
    assert said[0] == said[1]


def test_bad_input_in_another_process_is_one_line(tmp_path: Path) -> None:
    """What a process cannot read must be said once, in the words that one process alone would have."""
    (tmp_path / "linux").mkdir()
    result = CliRunner().invoke(cli, ["check", *TESTS, "--model", str(tmp_path), "--jobs", "2"])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_no_process_outlives_an_interrupt(tmp_path: Path) -> None:
    """Ctrl-C must end the processes, say what was not run, and not be a pass."""
    large = ("madvise+madvise+store", "cow+store+load")  # without reductions: minutes
    command = [sys.executable, "-c", HEARS_INTERRUPTS, "check", "--jobs", "2", "--no-reduce", "--time", "40"]
    work = [*command, "munmap+store_after", *large]
    with subprocess.Popen(work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first test has been checked
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 0)
            pytest.fail("a process of the group is still there")
    assert process.returncode == 3, (out, err)
    assert "not run" in out
    assert "Traceback" not in err
