# SPDX-License-Identifier: GPL-2.0-only
"""`ptelab live`: what is performed on the running kernel, and that a wrong model is noticed."""

from __future__ import annotations

import difflib
import json
import mmap
import os
import select
import shutil
import signal as interrupts
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ptelab.cli import cli
from ptelab.live import room
from ptelab.live.architectures import ARCHITECTURES, Architecture, running
from ptelab.live.binary import agent
from ptelab.live.program import CONTROL, CONTROL_FD, SIGNAL, Label, Reg, Shared
from ptelab.live.running import on_disk
from ptelab.source import bundled_model

pytestmark = pytest.mark.skipif(running() is None, reason="the agent has no machine code for this architecture")


def live(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["live", "--seconds", "0.1", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_kernel_does_what_the_model_allows(tmp_path: Path) -> None:
    # Threads, another process with a shared page, a fork: each way that a column can be performed.
    """No outcome of the running kernel may be one that the model forbids."""
    status, text = live("anon_load+store", "cow+load", "fork+store_after", "--json")
    results = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert status == 0
    assert [r["test"] for r in results] == ["anon_load+store", "cow+load", "fork+store_after"]
    for r in results:
        assert r["status"] == "ok" and r["runs"] > 0 and r["outcomes"] and not r["problems"]
    assert {o["values"]["[x]"] for o in results[1]["outcomes"]} == {2}  # what a process has stored is there in the end


def test_files_are_written_to_a_disk() -> None:
    """A test with writeback must run where files have a disk, and must say why it does not elsewhere."""
    status, text = live("store+writeback")
    if on_disk(None):
        assert status == 0 and "Observation store+writeback Never 0" in text
    else:
        assert status == 4 and "needs a disk" in text


@pytest.mark.parametrize(
    "test",
    [
        "munmap+munmap+locked",  # memory is locked
        "thp_cow+thp_cow", "collapse+store", "thp_zap_part+store",  # huge pages
        "madvise+load+huge", "store+writeback+huge",  # those of files
        "madvise_free+bits", "store+old+readonly", "readonly_store+dirty",  # pages of one's own behind read-only entries
        "store+fork+dirty",  # a page that is writable and clean
        "reclaim+store+shmem",  # so is one of a file in memory that was a hole
        "reclaim+load+five",  # no CPU has a page that reclaim does not see
        "mincore+split+thp",
        "vmsplice+fork+store", "fork_vmsplice+store",
        "scan_written", "scan_written+private", "scan_written+shmem", "scan_written_fork+store",
        "pin_readonly+store", "pin_readonly_store+exclusive",  # a pin that lasts while the process stores
        "uffd_wp+pin+fork+child_store", "scan_fork+store_scan+shmem",  # a child is registered as its parent is
        "madvise_free+pin_fast", "reclaim+pin_fast",  # what pins, transfers and unpins
        "madvise+switch+back", "munmap+switch+load",  # a CPU has the mm of another process for a while
        "madvise+idle+store",  # a thread sleeps, and its CPU has nothing to do
    ],
)  # fmt: skip
def test_each_way_to_make_a_state_or_a_call(test: str) -> None:
    """No beginning and no call may be other on the kernel than in the model."""
    status, text = live(test)
    if status == 4:
        pytest.skip(text.splitlines()[-2])
    assert status == 0, text


def test_a_fix_of_later_kernels_is_no_mismatch() -> None:
    """Stable kernels with a fix that v7.0 lacks must not fail, and what was compared with what must be said."""
    status, text = live("scan_written+missing")
    if status == 4:
        pytest.skip(text.splitlines()[-2])
    assert status == 0, text
    assert ("as the model says with fix-pagemap-scan-hole" in text) == ("0:r2=3" in text)


READ_ONLY = """MM readonly+mprotect
(*
 * Result: Always
 *
 * Is memory of a file that is open for reading only read as any other?
 *)
{
 mm_struct m;
 shmem f={1};
 vma x=(mm:m,file:f,prot:r,flags:readonly);
}

P0(char __user *x)
{
	int r0 = READ_ONCE(*x);
}

forall (0:r0=1)
"""


def test_a_file_may_be_open_for_reading_only(tmp_path: Path) -> None:
    """Such a file must be mapped through a descriptor of its own."""
    file = tmp_path / "readonly+mprotect.litmus"
    file.write_text(READ_ONLY, encoding="utf-8")
    assert live(str(file))[0] == 0


def test_no_file_is_left_when_ptelab_is_killed(tmp_path: Path) -> None:
    """Neither files nor directories may outlive ptelab, which cannot remove them then."""
    if not on_disk(None):
        pytest.skip("no disk")
    place = tmp_path / "place"
    place.mkdir()
    words = [sys.executable, "-m", "ptelab", "live", "store+writeback", "--seconds", "100"]
    with subprocess.Popen(
        words, env={**os.environ, "TMPDIR": str(place)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not agents(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert agents(process.pid)
        process.kill()
    assert not list(place.iterdir())


def agents(parent: int) -> str:
    """The processes that a process has started."""
    return Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")


def test_a_directory_goes_away_when_ptelab_is_killed(tmp_path: Path) -> None:
    """Nor may what a mount point or a compiler needs."""
    code = (
        "from ptelab.live import room; import time\nwith room.directory() as d: print(d, flush=True); time.sleep(100)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        place = Path(process.stdout.readline().strip())
        assert place.is_dir() and place.parent == tmp_path
        (place / "file").write_text("full")
        process.kill()
    deadline = time.monotonic() + 20
    while place.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not place.exists()


def test_what_clears_away_holds_no_pipe_open(tmp_path: Path) -> None:
    """A process that another thread starts meanwhile must not wait for as long as the directory is needed."""
    read, write = os.pipe()
    with room.afterwards(lambda: (tmp_path / "cleared").touch()):
        os.close(write)
        assert select.select([read], [], [], 60)[0], "somebody else can still write into the pipe"
    os.close(read)
    assert (tmp_path / "cleared").exists()


COUNTS = """
[two]
question = "Does a load of each of 20 pages take two faults, and munmap one flush of all 20?"
memory = "memfd"
sharing = "shared"
prot = "r"
pages = 20
counted = ["load 0 20", "munmap 0 20"]

[ceiling]
question = "Are 33 pages flushed one by one?"
pages = 33
before = ["store 0 33"]
counted = ["munmap 0 33"]
"""


def counts(tmp_path: Path, *words: str) -> tuple[int, str]:
    """The result of COUNTS; skips where events cannot be counted."""
    file = tmp_path / "some.toml"
    file.write_text(COUNTS, encoding="utf-8")
    status, text = live(str(file), *words)
    if status == 4:
        assert "skipped: " in text
        pytest.skip(text)
    return status, text


def test_the_kernel_counts_what_the_model_counts(tmp_path: Path) -> None:
    """No event of the kernel may be missing in the model, and none may be too many."""
    status, text = counts(tmp_path)
    assert status == 0
    assert "Count two: 2 faults, 2 map_pages, 1 flush (pages: 20)\n" in text
    assert "Count ceiling: 0 faults, 0 map_pages, 1 flush (pages: 33)\n" in text


def test_a_wrong_count_is_noticed(tmp_path: Path) -> None:
    """A model that flushes everything one page too early must fail."""
    old, new = "CEILING = 33\n", "CEILING = 32\n"
    patch = wrong_model(tmp_path, "linux/arch/x86/mm/tlb.py", old, new)
    status, text = counts(tmp_path, "--patch", patch)
    assert status == 1
    assert "Count ceiling: 0 faults, 0 map_pages, 1 flush (pages: all)\n!!! the kernel says: 0 faults" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\npages = 2\ncounted = ['load 0 3']", "“load 0 3” is not within the 2 pages"),
        ("[a]\nmemory = 'tape'", "memory is tape; write anonymous or memfd or disk instead"),
        ("[a]\ncounted = ['mprotect 0 1']", "“mprotect 0 1” needs r or rw"),
        ("[a]\nnumber = 2", "write the keys question, memory"),
        ("[a", "some.toml"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A mistake in a file of scenarios must not be taken for a count."""
    file = tmp_path / "some.toml"
    file.write_text(text, encoding="utf-8")
    status, output = live(str(file))
    assert status == 2
    assert message in output


def test_what_cannot_be_done_says_why() -> None:
    """A test must not be passed over in silence."""
    status, text = live("scan+store")
    assert status == 4
    assert "Test scan+store skipped: a driver's memory is needed" in text


def test_a_squeeze_is_not_of_a_test_alone() -> None:
    """Reclaim must not be held against the model when it finds more than the pages of a test."""
    status, text = live("squeeze+load")
    assert status == 4
    assert "Test squeeze+load skipped: a process has more in memory" in text


def hear_interrupts() -> None:
    """What a process does before it is to be interrupted: a shell's background job is told to ignore that."""
    interrupts.signal(interrupts.SIGINT, interrupts.default_int_handler)


def until(holds: Callable[[], bool]) -> None:
    """Wait for another process to have come to somewhere; it must within a minute."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wrong_model(tmp_path: Path, file: str, old: str, new: str) -> str:
    """A patch that makes the model wrong in one place."""
    source = bundled_model() / file
    before = source.read_text(encoding="utf-8")
    assert before.count(old) == 1
    changed = before.replace(old, new)
    names = f"a/model/{file}", f"b/model/{file}"
    diff = difflib.unified_diff(before.splitlines(True), changed.splitlines(True), *names)
    patch = tmp_path / "wrong.patch"
    patch.write_text("Subject: a wrong model\n\n" + "".join(diff), encoding="utf-8")
    return str(patch)


@pytest.mark.parametrize("taken", range(90, 101))
def test_the_agent_has_its_memory_whatever_else_is_open(taken: int) -> None:
    """No descriptor of ours may lie where the agent looks for its memory."""
    others = []
    while (fd := os.open("/dev/null", os.O_RDONLY)) < taken:
        others.append(fd)
    os.close(fd)
    try:
        status, text = live("readonly_store", "--seconds", "0.01")
    finally:
        for fd in others:
            os.close(fd)
    assert status in (0, 4), text


@pytest.mark.parametrize(
    ("test", "file", "old", "new"),
    [
        (  # a fault maps one page
            "load+around",
            "linux/mm/memory.py",
            "    return FAULT_AROUND_PAGES > 1\n",
            "    return False\n",
        ),
        (  # memory for a huge page cannot be stored to
            "thp_fault+thp_fault",
            "linux/mm/memory.py",
            "        return do_huge_pmd_anonymous_page(vmf)\n",
            "        return VM_FAULT_SIGBUS\n",
        ),
        (  # a fault in a mapping of a file gets a signal
            "readonly_store",
            "linux/mm/memory.py",
            "def do_fault(vmf: vm_fault) -> vm_fault_t:\n",
            "def do_fault(vmf: vm_fault) -> vm_fault_t:\n    return VM_FAULT_SIGBUS\n\n\n"
            "def do_other_fault(vmf: vm_fault) -> vm_fault_t:\n",
        ),
    ],
)
def test_a_wrong_model_is_noticed(tmp_path: Path, test: str, file: str, old: str, new: str) -> None:
    # Without this, a comparison that accepts everything would look the same.
    """A model that forbids what the kernel does must fail."""
    if not on_disk(None):
        pytest.skip("no disk")
    status, text = live(test, "--patch", wrong_model(tmp_path, file, old, new))
    assert status == 1, text
    assert "!!! the model forbids what was seen" in text


@pytest.mark.parametrize("machine", [pytest.param(m, id=name) for name, m in ARCHITECTURES.items()])
def test_the_agent_runs_on_each_architecture(tmp_path: Path, machine: Architecture) -> None:
    # Threads, processes, signals and system calls are machine code that no compiler has checked.
    """No routine of the agent may be wrong on an architecture that its author did not have."""
    emulator = [] if running() is machine else [shutil.which(f"qemu-{machine.triple.partition('-')[0]}")]
    if emulator == [None]:
        pytest.skip("no emulator of user programs for this architecture")
    shared = Shared(machine, mmap.PAGESIZE)
    done = shared.words()
    main, thread, child = (shared.program() for _ in range(3))
    loaded, signal, pid = main.reg(), main.reg(), main.reg()
    page = 0x200000000
    main.call("mmap", page, 4096, 3, 0x32, -1, 0)
    main.store(page, 7)
    main.load(loaded, page)
    main.call("munmap", page, 4096)
    refused = Label()
    main.load(main.reg(), page, refused)
    main.label(refused)
    main.op("SET", Reg(SIGNAL), to=signal)
    # The process comes before the thread: an emulator of user programs can hang when one that has threads forks.
    main.op("FORK", child.number, to=pid)
    main.call("wait4", -1, 0, 0, 0)
    main.op("SPAWN", thread.number)
    main.op("AWAIT", done, 2, 100)
    for program in (thread, child):
        program.op("ARRIVE", done)
    fd, memory = shared.lay_down()
    image = tmp_path / "agent"
    image.write_bytes(agent(machine))
    image.chmod(0o700)
    os.dup2(fd, CONTROL_FD)
    try:
        subprocess.run([*emulator, image], pass_fds=[CONTROL_FD], check=True, timeout=60)
    finally:
        os.close(CONTROL_FD)
        os.close(fd)

    def word(address: int) -> int:
        return int.from_bytes(memory[address - CONTROL : address - CONTROL + 8], "little")

    assert word(shared.register(main, loaded)) == 7
    assert word(shared.register(main, signal)) == 11
    assert 0 < word(shared.register(main, pid)) < 1 << 22
    assert word(done) == 2
