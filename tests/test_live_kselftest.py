# SPDX-License-Identifier: GPL-2.0-only
"""`ptelab live --kselftest`: what selftests say is read, each twin exists, and nothing of a run stays behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_live import hear_interrupts

from ptelab import bundled
from ptelab.cli import cli
from ptelab.litmus.build import read as read_litmus
from ptelab.litmus.profiles import covers
from ptelab.live import keeper
from ptelab.live.kselftest import building, running, table, tap
from ptelab.live.kselftest.command import PROFILES, default_table
from ptelab.live.kselftest.tap import Case

pytestmark = pytest.mark.usefixtures("settings_alone")

SAID = """TAP version 13
1..8
# [INFO] detected PMD size: 2048 KiB
ok 1 first
# no swap here
ok 2 # SKIP second
# [RUN] some part
not ok 3 third
ok 4 - fourth # SKIP no such page
ok 5 # XFAIL fifth
not ok 6 sixth without a newline# [RUN] another part
ok 7 same
ok 8 same
# Totals: pass:4 fail:2
"""


def test_what_a_test_says_is_read() -> None:
    """The kernel's TAP: directives before the description, sections in comments, a lacking newline."""
    said = tap.read(SAID)
    assert said.plan == 8 and not said.missing and not said.why
    assert [(c.number, c.answer, c.section, c.name, c.remark) for c in said.cases] == [
        (1, "ok", "", "first", ""),
        (2, "skip", "", "second", "no swap here"),
        (3, "not ok", "some part", "third", ""),
        (4, "skip", "some part", "fourth", "no such page"),
        (5, "not ok", "some part", "fifth", "the test calls it XFAIL"),
        (6, "not ok", "some part", "sixth without a newline", ""),
        (7, "ok", "another part", "same", ""),
        (8, "ok", "another part", "same", ""),
    ]
    assert tap.titles(said.cases)[-2:] == ["another part: same"] * 2 and tap.titles(said.cases)[0] == "first"


def test_a_reason_in_place_of_a_name() -> None:
    """Older tests name a case in a comment, and say in the case why it is skipped."""
    said = tap.read("1..2\n# [RUN] a case\nok 1 # SKIP no swap\n# [RUN] b case\nok 2 fine\n")
    assert tap.titles(said.cases) == ["a case", "fine"] and tap.reason(said.cases[0]) == "no swap"


@pytest.mark.parametrize(
    ("text", "missing", "why"),
    [
        ("1..3\nok 1 a\n", 2, ""),
        ("1..0 # SKIP no root\n", 0, "no root"),
        ("1..2\nok 1 a\nBail out! broken\n", 1, "broken"),
    ],
)
def test_a_test_that_does_not_run_to_its_end(text: str, missing: int, why: str) -> None:
    """What was promised and never came is missing."""
    said = tap.read(text)
    assert (said.missing, said.why) == (missing, why)


# As tests of 6.12 and 7.0 call some of their cases.
NAMES = {
    "cow": {
        "Basic COW after fork() ... with base page": "fork+store_after",
        "Basic COW after fork() ... with base page: No leak": "fork+store_after",
        "a part: Basic COW after fork() with mprotect() optimization ... with swapped out base page":
            "fork_mprotect_store+load+swapped",
        "vmsplice() + unmap in child with mprotect() optimization ... with base page": "vmsplice+mprotect_store",
        "vmsplice() before fork(), unmap in parent after fork() ... with base page": "vmsplice_fork+store",
        "R/O GUP-fast pin on R/O-mapped exclusive page ... with base page": "pin_readonly_store+exclusive",
        "fork() with an iouring fixed buffer ... with base page": "pin+fork+store",
        "Basic COW ... with memfd": "load_store+load+private+shmem",
        "Basic COW ... with memfd hugetlb (2048 kB)": "",
        "Basic COW after fork() ... with PTE-mapped THP (16 kB)": "",
        "Basic COW after fork() when collapsing before fork()": "",
        "R/O longterm GUP-fast pin ... with tmpfile": "load_pin_longterm_store+private",
    },
    "mkdirty": {"PTRACE write access: SIGSEGV": "readonly_store+dirty", "Page migration of THP: SIGSEGV": ""},
    "madv_populate": {
        "test_holes: MADV_POPULATE_READ with holes at the end": "populate+hole",
        "test_populate_read: range is populated": "populate_read",
        "test_prot_write: MADV_POPULATE_READ with PROT_WRITE": "",
    },
    "ksm_functional_tests": {
        "test_unmerge: Pages were unmerged": "ksm_unmerge",
        "test_unmerge_discarded: Pages were unmerged": "ksm_madvise_unmerge",
        "test_unmerge_zero_pages: KSM zero pages were unmerged": "",
        "test_prctl_unmerge: Pages were unmerged": "ksm_unmerge",
        "test_prctl_fork: value is inherited": "",
    },
    "mremap_dontunmap": {"mremap_dontunmap_simple": "mremap_dontunmap", "mremap_dontunmap_partial_mapping": ""},
    "pagemap_ioctl": {
        "Page testing: only middle page dirty": "scan_written",
        "Huge page testing: only middle page dirty": "",
        "File memory testing: all pages must be written": "scan_written+private",
        "mprotect_tests Both pages written": "scan_written",
        "mprotect_tests Both pages written after remap and mprotect": "scan_written+mprotect",
        "sanity_tests_sd Zero range size is valid": "",
        "Test test_simple": "scan_written", "transact_test count 0": "scan_written+store",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("program", "words", "twin"), [(program, *item) for program, names in NAMES.items() for item in names.items()]
)
def test_cases_find_their_twins(program: str, words: str, twin: str) -> None:
    """Whichever version's tests, a case is known by its words."""
    row = table.find(table.read(default_table())[program], Case(1, "", words, "ok"))
    assert row is not None and row.twin == twin and bool(row.none) == (not twin)


ROWS = [(program, row) for program, rows in table.read(default_table()).items() for row in rows]


@pytest.mark.parametrize(("program", "row"), ROWS, ids=lambda v: v if isinstance(v, str) else v.twin or v.none)
def test_each_twin_exists(program: str, row: table.Row) -> None:
    """It is a bundled test, and has the result that means ok where Linux is as it should be."""
    if not row.twin:
        return
    test = read_litmus(bundled.directory("litmus") / f"{row.twin}.litmus")
    assert covers(test.arches, row.arch or "x86_64")
    for arch in [row.arch] if row.arch else PROFILES.values():
        assert not covers(test.arches, arch) or test.on(arch).expected == row.ok


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[a]]\ncases = ['b']\n", "either twin or none"),
        ("[[a]]\ncases = ['b']\ntwin = 'c'\n", "needs ok"),
        ("[[a]]\ncases = ['(']\nnone = 'c'\n", "'('"),
        ("[[a]]\ncase = ['b']\nnone = 'c'\n", "no key is called 'case'"),
        ("[", "Invalid"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """One line says where and what."""
    (tmp_path / "t.toml").write_text(text, encoding="utf-8")
    with pytest.raises(table.SourceError) as raised:
        table.read(tmp_path / "t.toml")
    assert words in str(raised.value) and "\n" not in str(raised.value)


def live(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["live", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_directory_without_tests(tmp_path: Path) -> None:
    """Bad input, one line."""
    status, text = live("--kselftest", str(tmp_path))
    assert status == 2 and "none of the tests" in text and len(text.splitlines()) == 1
    assert live("--kselftest", str(tmp_path / "none"))[0] == 2
    assert live("--unmerge")[0] == 2


TREE = "tools/testing/selftests/mm"

COW = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "vm_util.h"
int main(void)
{
	puts("TAP version 13\n1..3");
	puts("ok 1 Basic COW after fork() ... with base page");
	puts("NOT ok 2 vmsplice() before fork(), unmap in parent after fork() ... with base page");
	puts("ok 3 # SKIP fork() with an iouring fixed buffer ... with base page");
	fflush(stdout);
	LAST;
	return 0;
}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A kernel tree with a test of our own."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    if os.uname().machine not in PROFILES:
        pytest.skip("no model of this machine")
    directory = tmp_path / "linux" / TREE
    directory.mkdir(parents=True)
    (directory / "vm_util.h").write_text("")
    (directory / "cow.c").write_text(COW.replace("NOT ", "").replace("LAST;", ""))
    return tmp_path / "linux"


def test_the_model_is_asked_the_same(tree: Path) -> None:
    """Answers are equal; another model or another kernel is a mismatch."""
    files = sorted(tree.rglob("*"))
    status, text = live("--kselftest", str(tree), "cow")
    assert status == 0 and "cow: 3 cases: 2 same, 1 skipped" in text, text
    assert sorted(tree.rglob("*")) == files
    (tree / TREE / "cow.c").write_text(COW.replace("NOT", "not").replace("LAST;", ""))
    status, text = live("--kselftest", str(tree / TREE), "cow", "--json")
    assert status == 1
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines] == ["ok", "failed", "skipped"]


def test_a_number_that_is_said_twice_is_not_compared(tree: Path) -> None:
    """A child of a test that should have gone may go on with the rest, and nobody knows what is about what."""
    twice = COW.replace("NOT ", "").replace("LAST;", 'puts("not ok 1 Basic COW after fork() ... with base page");')
    (tree / TREE / "cow.c").write_text(twice)
    status, text = live("--kselftest", str(tree), "cow")
    assert status == 0 and "cow: 4 cases: 1 same, 3 skipped" in text and text.count("two of its processes") == 2


def test_a_wrong_model_differs(tree: Path) -> None:
    """With a bug of 2020 undone, the model fails what the kernel does not."""
    status, text = live("--kselftest", str(tree), "cow", "--patch", "CVE-2020-29374")
    assert status == 1 and "DIFFERENT cow 2" in text and "model not ok (vmsplice_fork+store: Sometimes)" in text


def test_what_cannot_be_built_is_skipped(tree: Path) -> None:
    """With the compiler's reason; so is what the tree has not."""
    (tree / TREE / "cow.c").write_text("#include <no/such/header.h>\n")
    status, text = live("--kselftest", str(tree), "cow", "mkdirty")
    assert status == 4 and "no/such/header.h" in text and "mkdirty skipped: these sources have no such test" in text


def test_a_test_that_crashes_is_no_result(tree: Path) -> None:
    """What it has said before counts; the rest is the program's failure, not the kernel's."""
    (tree / TREE / "cow.c").write_text(COW.replace("NOT ", "").replace("LAST;", "abort();"))
    status, text = live("--kselftest", str(tree), "cow")
    assert status == 3 and "ended by SIGABRT after 3 cases" in text


def test_a_test_that_hangs_is_ended(tree: Path, tmp_path: Path) -> None:
    """With all that it has started, its own session or not."""
    lingering = "if (!fork()) { setsid(); for (;;) pause(); } for (;;) pause();"
    (tree / TREE / "cow.c").write_text(COW.replace("NOT ", "").replace("LAST;", lingering))
    build = tmp_path / "build"
    build.mkdir()
    building.prepare(build)
    program = running.run(building.find(tree, ["cow"]), build, "cow", False, seconds=0.5)
    assert "did not come to an end" in program.broken and len(program.said.cases) == 3
    assert not processes(build)


def test_nothing_stays_after_an_interrupt(tree: Path, tmp_path: Path) -> None:
    """Ctrl-C while a test runs ends it, and takes the directory away."""
    (tree / TREE / "cow.c").write_text(COW.replace("NOT ", "").replace("LAST;", "for (;;) pause();"))
    place = tmp_path / "temporary"
    place.mkdir()
    program = subprocess.Popen(
        [sys.executable, "-m", "ptelab", "live", "--kselftest", str(tree), "cow"], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(place)}, cwd=Path(__file__).parent.parent,
        preexec_fn=hear_interrupts,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any(processes(path) for path in place.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    build = next(place.iterdir())
    program.send_signal(signal.SIGINT)
    _, error = program.communicate(timeout=60)
    assert program.returncode == 3 and "interrupted" in error
    assert not list(place.iterdir()) and not processes(build)


def test_nothing_stays_when_the_caller_is_killed(tmp_path: Path) -> None:
    """Processes and the directory go even then."""
    place = tmp_path / "place"
    place.mkdir()
    order = json.dumps({"argv": ["sleep", "1000"], "directory": str(place), "seconds": 100})
    process = subprocess.Popen([sys.executable, keeper.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(order.encode() + b"\n")
    process.stdin.flush()
    deadline = time.monotonic() + 20
    while not processes(place) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert processes(place)
    process.send_signal(signal.SIGTERM)  # which it ignores
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()
    assert not place.exists() and not processes(place)


def processes(directory: Path) -> list[str]:
    """Those that run in a directory, or did when it was there."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            where = os.readlink(link)
        except OSError:
            continue
        if where.removesuffix(" (deleted)") == str(directory):
            found.append(link.parent.name)
    return found


def test_settings_are_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that changed are written, as the choice that a file marks; what may only be read is none."""
    knobs = tmp_path / "knobs"
    knobs.mkdir()
    (knobs / "enabled").write_text("always [madvise] never\n")
    (knobs / "number").write_text("100\n")
    (knobs / "statistics").write_text("7\n")
    (knobs / "statistics").chmod(0o444)
    monkeypatch.setattr(keeper, "KNOBS", (str(knobs),))
    before = keeper.settings()
    assert {Path(k).name: v for k, v in before.items()} == {"enabled": "madvise", "number": "100"}
    (knobs / "number").write_text("2000\n")
    assert keeper.restore(before) == [] and (knobs / "number").read_text() == "100"
    assert (knobs / "enabled").read_text() == "always [madvise] never\n"


def test_the_kernel_and_the_model_agree() -> None:
    """The real tests, where a kernel's sources are named."""
    place = os.environ.get("PTELAB_KSELFTEST")
    if not place:
        pytest.skip("PTELAB_KSELFTEST names no kernel source tree")
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    status, text = live("--kselftest", place)
    assert status in (0, 4), text
