# SPDX-License-Identifier: GPL-2.0-only
"""Swap in litmus tests on the running kernel: pages must get there and come back, and nothing may be left of ours."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_live import hear_interrupts, until, wrong_model

from ptelab.cli import cli
from ptelab.live import keeper, swapping
from ptelab.live.probe import probe

SWAPS = Path("/proc/swaps")


def _why_not() -> str:
    abilities = probe(make_swap=True)
    if abilities.machine is None:
        return "the agent has no machine code for this architecture"
    if abilities.swap.is_on:
        return "the machine has swap of its own"
    return abilities.swap.why or ("" if abilities.frames else "frame numbers are hidden")


pytestmark = [pytest.mark.skipif(bool(_why_not()), reason=_why_not()), pytest.mark.usefixtures("settings_alone")]


def live(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["live", "--seconds", "0.1", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "tests",
    [
        ("pageout_load", "mprotect_swapout+store", "swapout+store+load"),  # a page gets there while columns run
        ("swapped+store", "swapped+load+store", "uffd_wp+swapped+store"),  # it is there at the beginning
        ("fork+munmap+swapped", "swapped+fork+store", "swapout+fork+store"),  # another process has it, too
        ("pin_readonly_store+swapped", "vmsplice_fork+store+swapped"),  # a pin brings it back
        ("collapse+swapout", "thp_swapout+store"),  # a huge page
    ],
)
def test_swapped_pages_do_what_the_model_allows(tests: tuple[str, ...]) -> None:
    """No run may begin without its pages in swap, and reclaim must bring some there: else nothing is compared."""
    status, text = live(*tests, "--swap", "--json")
    results = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    if any(name.startswith(("collapse", "thp")) for name in tests) and len(results) < len(tests):
        pytest.skip("no huge pages")
    assert status == 0, text
    assert [r["test"] for r in results] == list(tests)
    for r in results:
        assert r["status"] == "ok" and r["runs"] > 0 and not r["problems"]
        assert r["swapped"] > 0 or "swapped" in r["test"]
        assert all("[x]" in o["values"] and "swapped(x)" in o["values"] for o in r["outcomes"])


def test_a_device_that_answers_at_once() -> None:
    """What a test says of the device must be so."""
    if "zram" not in probe(make_swap=True).swap.own:
        pytest.skip("no zram")
    status, text = live("pageout+load+store", "--swap")
    assert status == 0, text


@pytest.mark.parametrize(
    ("test", "file", "old", "new"),
    [
        (  # a load of a page in swap is refused
            "swapped+store",
            "linux/mm/memory.py",
            "def do_swap_page(vmf: vm_fault) -> vm_fault_t:\n",
            "def do_swap_page(vmf: vm_fault) -> vm_fault_t:\n    return VM_FAULT_SIGBUS\n\n\n"
            "def do_other_swap_page(vmf: vm_fault) -> vm_fault_t:\n",
        ),
    ],
)
def test_a_wrong_model_is_noticed(tmp_path: Path, test: str, file: str, old: str, new: str) -> None:
    """A model that forbids what the kernel does with pages in swap must fail."""
    status, text = live(test, "--swap", "--patch", wrong_model(tmp_path, file, old, new))
    assert status == 1, text
    assert "!!! the model forbids what was seen" in text


def test_no_swap_is_made_without_being_told() -> None:
    """Without --swap nothing may be made, and the test says why it is skipped."""
    before = SWAPS.read_text()
    status, text = live("swapped+store")
    assert status == 4 and "Test swapped+store skipped: no swap is on; --swap makes some" in text
    assert SWAPS.read_text() == before


def test_tests_without_swap_run_without_it() -> None:
    """A test that says of memory that there is no swap must not see ours."""
    before = SWAPS.read_text()
    status, text = live("swapout+store", "reclaim+pin_fast", "--swap")
    assert status == 0, text
    assert SWAPS.read_text() == before


def test_two_do_not_disturb_each_other() -> None:
    """No swap may go on while another one performs a test that wants none, nor may that begin while there is some."""
    with keeper.alone(5, keeper.SWAPS, shared=True) as ours:
        assert ours
        process = keeper.start({"swap": "file", "directory": None, "bytes": swapping.BYTES})
        until(lambda: has_open(process.pid, SWAPS))  # it has come to where it waits for us
        assert not swapping.areas()
    try:
        assert process.stdout is not None and "ready" in process.stdout.readline()
        assert len(swapping.areas()) == 1
        with keeper.alone(0.1, keeper.SWAPS, shared=True) as ours:
            assert not ours
    finally:
        keeper.end(process)
    assert not swapping.areas()


COW = r"""
#include <stdio.h>
int main(void)
{
	char line[200];
	int lines = 0;
	FILE *swaps = fopen("/proc/swaps", "r");

	while (fgets(line, sizeof(line), swaps))
		lines++;
	puts("TAP version 13\n1..1");
	printf("ok 1 %sBasic COW after fork() ... with swapped out base page\n", lines > 1 ? "" : "# SKIP ");
	return 0;
}
"""


def test_the_kernels_own_tests_have_swap(tmp_path: Path) -> None:
    """They must have some with --swap, none without, and nothing may be left of it."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    before = SWAPS.read_text()
    (tmp_path / "cow.c").write_text(COW)
    assert "cow: 1 cases: 1 skipped" in live("--kselftest", str(tmp_path), "cow")[1]
    assert "cow: 1 cases: 1 same" in live("--kselftest", str(tmp_path), "cow", "--swap")[1]
    assert SWAPS.read_text() == before


@pytest.mark.parametrize("kind", ["file", "zram"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_swap_goes_away_when_ptelab_does(tmp_path: Path, number: signal.Signals, kind: str) -> None:
    """Nothing of ours may stay on, nor its file nor its device, after Ctrl-C and kill -9 while a test runs."""
    if kind not in probe(make_swap=True).swap.own:
        pytest.skip(f"no swap in {kind}")
    before = SWAPS.read_text(), devices()
    test = "pageout+load+store" if kind == "zram" else "swapped+store"
    words = [sys.executable, "-m", "ptelab", "live", test, "--swap", "--seconds", "100"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, env=environment, stdout=quiet, stderr=quiet, preexec_fn=hear_interrupts) as process:
        until(lambda: used() > 0)
        if kind == "file":
            assert [path for path in swapping.areas() if path.startswith(str(tmp_path))]
        process.send_signal(number)
        process.wait(30)
    until(lambda: (SWAPS.read_text(), devices()) == before)
    until(lambda: not list(tmp_path.iterdir()))


def devices() -> list[str]:
    return sorted(path.name for path in Path("/sys/block").glob("zram*"))


def has_open(process: int, path: Path) -> bool:
    """Whether a process holds a file open, or has ended."""
    try:
        return any(fd.resolve() == path.resolve() for fd in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return not Path(f"/proc/{process}").exists()


def used() -> int:
    """How much of swap is used."""
    return sum(int(line.split()[3]) for line in SWAPS.read_text().splitlines()[1:])
