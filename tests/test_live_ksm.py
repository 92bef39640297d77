# SPDX-License-Identifier: GPL-2.0-only
"""KSM in litmus tests on the running kernel: ksmd must do what the tests want, and must be left as it was."""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_live import hear_interrupts, until, wrong_model

from ptelab.cli import cli
from ptelab.live import keeper, merging
from ptelab.live.probe import noise, probe

_MERGEABLE = 12


def _why_not() -> str:
    abilities = probe()
    if abilities.machine is None:
        return "the agent has no machine code for this architecture"
    return merging.unable() or ("" if abilities.frames else "frame numbers are hidden")


pytestmark = [pytest.mark.skipif(bool(_why_not()), reason=_why_not()), pytest.mark.usefixtures("settings_alone")]


def live(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["live", "--seconds", "0.2", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def knobs() -> dict[str, str]:
    return {name: (keeper.KSM / name).read_text() for name in merging.KNOBS if (keeper.KSM / name).exists()}


def test_merged_pages_do_what_the_model_allows() -> None:
    """No run may begin without a merged page, and ksmd must merge one while columns run: else nothing is compared."""
    names = ["cow+ksm", "ksm+store", "ksm+pin", "ksm_unmerge", "munmap+ksm"]
    status, text = live(*names, "--json")
    results = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert status == 0, text
    assert [r["test"] for r in results] == names
    for r in results:
        assert r["status"] == "ok" and r["runs"] > 0 and not r["problems"]
        assert r["merged"] > 0 or r["test"] != "ksm_unmerge"  # in the others it is a race


@pytest.mark.parametrize(
    ("test", "file", "old", "new"),
    [
        (  # a store to a merged page is refused
            "cow+ksm",
            "linux/mm/memory.py",
            "def do_wp_page(vmf: vm_fault) -> vm_fault_t:\n",
            "def do_wp_page(vmf: vm_fault) -> vm_fault_t:\n    return VM_FAULT_SIGBUS\n\n\n"
            "def do_other_wp_page(vmf: vm_fault) -> vm_fault_t:\n",
        ),
        (  # a process cannot have its pages back
            "ksm_unmerge",
            "linux/mm/ksm.py",
            "    return break_ksm(vma, start, end)\n",
            "    return EFAULT\n",
        ),
    ],
)
def test_a_wrong_model_is_noticed(tmp_path: Path, test: str, file: str, old: str, new: str) -> None:
    """A model that forbids what the kernel does with merged pages must fail, and our own ksmd is no excuse."""
    status, text = live(test, "--patch", wrong_model(tmp_path, file, old, new))
    assert status == 1, text
    assert "!!! the model forbids what was seen" in text


def test_ksmd_is_left_as_it_was() -> None:
    """No setting may stay changed, and ksmd may know no page of ours any more."""
    before = knobs()
    status, text = live("ksm+store")
    assert status == 0, text
    assert knobs() == before
    assert (keeper.KSM / "pages_shared").read_text() == "0\n" and (keeper.KSM / "pages_sharing").read_text() == "0\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ksmd_is_left_as_it_was_when_ptelab_is_not(number: signal.Signals) -> None:
    """Settings are restored also after Ctrl-C and kill -9, while a test runs."""
    before = knobs()
    words = [sys.executable, "-m", "ptelab", "live", "ksm+store", "--seconds", "100"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, stdout=quiet, stderr=quiet, preexec_fn=hear_interrupts) as process:
        until(lambda: (keeper.KSM / "run").read_text() == "1\n")
        process.send_signal(number)
        process.wait(30)
    until(lambda: knobs() == before)
    assert (keeper.KSM / "pages_shared").read_text() == "0\n"


def test_two_do_not_share_ksmd() -> None:
    """Who comes second must not alter settings that another one keeps."""
    with keeper.alone(5) as ours:
        assert ours
        status, text = live("ksm+store")
    assert status == 4 and "Test ksm+store skipped: KSM: somebody else lets it run" in text


@contextlib.contextmanager
def mergeable() -> Iterator[None]:
    """A process that wants its memory merged, as a virtual machine does."""
    with mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[0] = 1
        memory.madvise(_MERGEABLE)
        yield


def test_memory_of_others_is_not_merged() -> None:
    """ksmd must not be switched on where others' memory would be merged as well."""
    with mergeable():
        status, text = live("ksm+store")
    assert status == 4 and "skipped: KSM: KSM would merge memory of " in text


def test_ksmd_of_others_is_noise_and_ours_is_not() -> None:
    """A test that lets ksmd run must not take that for an excuse."""
    with merging.running():
        assert "ksmd" in noise() and "ksmd" not in noise(ksmd_is_ours=True)
    assert "ksmd" not in noise()


def test_a_lock_is_given_back() -> None:
    """The next one must be able to have ksmd."""
    with merging.running():
        pass
    fd = os.open(keeper.KSM / "run", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(fd)
