# SPDX-License-Identifier: GPL-2.0-only
"""`ptelab live --kernel`: no other kernel may do what the model of it does not, and a wrong model must be noticed."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ptelab import bundled
from ptelab.checking import Options
from ptelab.cli import cli
from ptelab.live.kernels import command, debian, emulator, guest
from ptelab.live.kernels.command import BOOTS_MAX, Comparison, Seen, Target, Work
from ptelab.live.kernels.versions import KERNELS, MACHINES, Kernel, Machine, name_of
from ptelab.source import bundled_model

TARGET = Target(KERNELS["6.12"], MACHINES["arm64"], "max")
"""It shows all: map counts that go late, and entries that begin old."""


def live(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["live", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def todo() -> Work:
    return command.work(sorted((bundled.directory("live") / "kernels").glob("*.toml")))


@pytest.fixture(scope="module")
def seen(todo: Work) -> Seen:
    """What the kernel said; skips where none can be booted."""
    try:
        return command.boot(TARGET, todo)
    except debian.NoKernel as error:
        pytest.skip(str(error))


def judge(seen: Seen, todo: Work, *patches: Path) -> Comparison:
    return command.judge(TARGET, seen, todo, Options(patches=patches))


def test_a_kernel_does_what_its_model_does(seen: Seen, todo: Work) -> None:
    """No fault, frame, map count, young entry or order of calls may differ between a kernel and the model of it."""
    rows = judge(seen, todo).rows
    assert [(row.name, row.differing, row.problem) for row in rows if row.status != "ok"] == []
    by_name = {row.name: row.observed for row in rows}
    munmap, around = by_name["munmap-dirty"], by_name["around-young"]
    assert munmap is not None and around is not None
    calls = munmap.calls
    assert calls[:5] == ("folio_mark_dirty",) * 2 + ("folio_remove_rmap_ptes",) * 2 + ("tlb_flush_rmaps",)
    assert around.young["after", 0] == 1
    assert len(around.mapped["after", 0]) == 16


def test_a_wrong_order_is_noticed(seen: Seen, todo: Work) -> None:
    """A model that takes the map count of a dirty page away before the flush must fail on a kernel that does so after it."""
    rows = judge(seen, todo, bundled.patch_path("5df397dec7c4")).rows
    differing = {row.name: set(row.differing) for row in rows if row.status != "ok"}
    assert differing == {"munmap-dirty": {"calls"}, "dontneed-dirty": {"calls"}}


def test_a_wrong_young_bit_is_noticed(seen: Seen, todo: Work) -> None:
    """A model that maps young entries around a fault must fail on a kernel that maps old ones."""
    rows = judge(seen, todo, bundled.patch_path("46bdb4277f98")).rows
    differing = {row.name: row.differing for row in rows if row.status != "ok"}
    model, kernel = differing["around-young"]["after, parent"]
    assert model.endswith("16 young") and kernel.endswith("; 1 young")
    assert all(name.startswith("around-") or "young" in str(d) for name, d in differing.items())


def test_a_wrong_count_is_noticed(seen: Seen, todo: Work, tmp_path: Path) -> None:
    """A model that forgets to uncount the page that a copy takes the place of must fail."""
    source = bundled_model() / "linux/mm/memory.py"
    before = source.read_text(encoding="utf-8")
    old = "            if old_folio is not None:\n                folio_remove_rmap_ptes(old_folio, vma)\n"
    assert before.count(old) == 1
    names = "a/model/linux/mm/memory.py", "b/model/linux/mm/memory.py"
    diff = difflib.unified_diff(before.splitlines(True), before.replace(old, "").splitlines(True), *names)
    patch = tmp_path / "wrong.patch"
    patch.write_text("Subject: a wrong model\n\n" + "".join(diff), encoding="utf-8")
    rows = {row.name: row for row in judge(seen, todo, patch).rows}
    model, kernel = rows["fork-store"].differing["after, child"]
    assert "0…1=f0…1×2" in model and "0…1=f0…1×1" in kernel
    assert rows["munmap-dirty"].status == "ok"


# ------------------------------------------------------------------------------------- without a machine


def test_a_crash_of_the_emulator_is_no_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that does not come to its end must be booted again, and then be neither as the model says nor not."""
    image = tmp_path / "vmlinuz-6.12.1-1-amd64"
    image.write_bytes(b"")
    booted = []

    def boot(machine: Machine, cpu: str, kernel: Path, init: Path, script: str) -> str:
        booted.append((machine.name, cpu))
        return "@@ begin\n@@ kernel 6.12.1\n@@ scenario\nBUG: unable to handle page fault\n"

    monkeypatch.setattr(emulator, "boot", boot)
    monkeypatch.setattr(emulator, "build", lambda machine, to: None)
    monkeypatch.setattr(debian, "missing", lambda machine: [])
    status, text = live("--kernel", str(image))
    assert status == 3 and booted == [("amd64", "max")] * BOOTS_MAX
    assert "no result, since the emulation failed: the kernel has stopped behind “scenario" in text


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that cannot be booted must be skipped with the packages that are missing, not in silence."""
    monkeypatch.setenv("PATH", str(tmp_path))
    status, text = live("--kernel", "6.12", "--arch", "s390x")
    assert status == 4
    assert "qemu-system-s390x (install qemu-system-misc), s390x-linux-gnu-gcc (install gcc-s390x-linux-gnu)" in text


def test_a_kernel_that_debian_has_not_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An archive that has no such kernel must be no failure and no traceback."""

    def none(work: Path, kernel: Kernel, machine: Machine) -> Path:
        raise debian.NoKernel("Debian has no kernel 5.10 for s390x in bullseye")

    monkeypatch.setenv("PTELAB_CACHE", str(tmp_path))
    monkeypatch.setattr(debian, "missing", lambda machine: [])
    monkeypatch.setattr(debian, "KEYRING", tmp_path)
    status, text = live("--kernel", "5.10", "--arch", "s390x")
    assert status == 4 and "install debian-archive-keyring" in text
    monkeypatch.setattr(debian, "KEYRING", Path(__file__))
    monkeypatch.setattr(debian, "_package", none)
    status, text = live("--kernel", "5.10", "--arch", "s390x")
    assert status == 4 and "Kernel 5.10 s390x on max skipped: Debian has no kernel" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kernel", "2.6"], "--kernel 2.6: no such file; write 5.10, 6.1, 6.12, 7.2 instead"),
        (["--kernel", "6.1", "--arch", "riscv64"], "--arch riscv64; write amd64, arm64, s390x instead"),
        (["--kernel", "6.1", "--cpu", "cortex-a72"], "--cpu cortex-a72; write max for amd64 instead"),
        (["--arch", "arm64"], "--arch and --cpu are of a kernel that is booted; add --kernel"),
    ],
)
def test_what_there_is_not_is_refused(words: list[str], message: str) -> None:
    """A kernel, machine or CPU that does not exist must not be taken for another."""
    status, text = live(*words)
    assert status == 2 and message in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\npages = 2\ncounted = ['load 0 3']", "“load 0 3” is not within the 2 pages"),
        ("[a]\npages = 40", "40 pages at 0; write at least 1, up to page 32 instead"),
        ("[a]\nmemory = 'memfd'", "memory is memfd; write anonymous or memory or disk instead"),
        ("[a]\ncounted = ['mprotect 0 1']", "“mprotect 0 1” needs r or rw"),
        ("[a]\ncounted = ['child: load 0 1']", "one child, from fork to exit"),
        ("[a]\ncounted = ['fork', 'fork']", "one child, from fork to exit"),
        ("[a]\ncounted = ['uncle: load 0 1']", "write [child:] CALL FIRST COUNT"),
        ("[a]\nfunction = ['f']", "write the keys question, memory"),
        ("[a", "some.toml"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    """A mistake in a file of scenarios must not reach a kernel."""
    monkeypatch.setattr(command, "boot", lambda *_: pytest.fail("booted"))
    file = tmp_path / "some.toml"
    file.write_text(text, encoding="utf-8")
    status, output = live("--kernel", "6.12", str(file))
    assert status == 2
    assert message in output


SCENARIO = """
[store]
question = "Does a store to a page of anonymous memory map it?"
counted = ["store 0 1"]
"""

BLOCK = """@@ scenario\r
@@ young before 0 0\r
@@ page after 0 0 1c1f 1 818\r
@@ young after 0 1\r
@@ faults 1\r
@@ lines 4\r
"""

CONSOLE = f"[    0.1] Linux\r\n@@ begin\r\n@@ kernel 6.12.1\r\n{BLOCK * command.REPETITIONS}@@ end\r\n"


@pytest.mark.parametrize(
    ("old", "new", "status", "message"),
    [
        ("", "", 0, "ok"),
        ("faults 1", "faults 2", 1, "failed"),
        ("young after 0 1", "young after 0 0", 1, "failed"),
        ("1c1f 1 ", "1c1f 2 ", 1, "failed"),
        ("1c1f 1 818", "1c1f 1 81c", 0, "ok"),  # the page is marked as referenced, which hides the bit of the entry
        ("@@ faults 1\r\n", "", 3, "lost lines"),
        ("@@ end", "", 3, "has stopped behind “lines 4”"),
        ("@@ faults", "@@ problem mmap\r\n@@ faults", 3, "mmap"),
        ("6.12.1", "4.19.0", 4, "Linux 4.19 is older"),
    ],
)
def test_what_the_console_says_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, status: int, message: str
) -> None:
    """A wrong number must fail, and a line that was lost on the way must be no result."""
    image, file = tmp_path / "vmlinuz", tmp_path / "some.toml"
    image.write_bytes(b"")
    file.write_text(SCENARIO, encoding="utf-8")
    console(monkeypatch, CONSOLE.replace(old, new))
    got, output = live("--kernel", str(image), "--json", str(file))
    assert got == status
    if status < 2:
        (line,) = (line for line in output.splitlines() if line.startswith("{"))
        assert json.loads(line)["status"] == message
    else:
        assert message in output


def console(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(emulator, "boot", lambda *_: text)
    monkeypatch.setattr(emulator, "build", lambda machine, to: None)
    monkeypatch.setattr(debian, "missing", lambda machine: [])


@pytest.mark.parametrize(
    ("times", "status", "verdict"),
    [(1, 0, "ok"), (2, 1, "failed")],
)
def test_what_most_repetitions_say_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, status: int, verdict: str
) -> None:
    """One run that something else got into must be no mismatch, and must be told."""
    image, file = tmp_path / "vmlinuz", tmp_path / "some.toml"
    image.write_bytes(b"")
    file.write_text(SCENARIO, encoding="utf-8")
    console(monkeypatch, CONSOLE.replace("faults 1", "faults 2", times))
    got, text = live("--kernel", str(image), str(file))
    assert got == status and f"Scenario store: {verdict}" in text
    assert "disturbed, the kernel says: faults: 2; before" in text


COUNT = """
[munmap-2]
question = "Is munmap of 2 pages one flush of 2 pages?"
pages = 2
before = ["store 0 2"]
counted = ["munmap 0 2"]
"""


@pytest.mark.parametrize(("flushes", "status"), [((2,), 0), ((2, 2), 1), ((), 1), ((-1,), 1)])
def test_counts_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flushes: tuple[int, ...], status: int
) -> None:
    """A flush of another kernel that the model has not, or has otherwise, must fail."""
    image, file = tmp_path / "vmlinuz", tmp_path / "counts.toml"
    image.write_bytes(b"")
    file.write_text(COUNT, encoding="utf-8")
    said = [f"@@ flush pages:{n} reason:local mm shootdown (3)" for n in flushes]
    said += ["@@ flush pages:-1 reason:flush on task switch (0)", "@@ faults 0"]
    block = "\n".join(["@@ scenario", *said, f"@@ lines {len(said)}\n"])
    console(monkeypatch, f"@@ begin\n@@ kernel 6.12.1\n{block * command.REPETITIONS}@@ end\n")
    got, text = live("--kernel", str(image), str(file))
    assert got == status and f"Count munmap-2: {'failed' if status else 'ok'}" in text


def test_a_report_says_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page must not need another file, hide what differs, or leave out how to see it again."""
    image, file, page = tmp_path / "vmlinuz", tmp_path / "some.toml", tmp_path / "page.html"
    image.write_bytes(b"")
    file.write_text(SCENARIO, encoding="utf-8")
    console(monkeypatch, CONSOLE.replace("faults 1", "faults 2"))
    status, _ = live("--kernel", str(image), "--report", str(page), str(file))
    assert status == 1
    html, text = page.read_text(encoding="utf-8"), page.with_suffix(".txt").read_text(encoding="utf-8")
    assert "src=" not in html and "http" not in html and "<script" not in html
    repeat = f"ptelab live --kernel {image} --arch amd64 {file}"
    for said in ("Does a store to a page of anonymous memory map it?", "faults: 1", "faults: 2", "failed", repeat):
        assert said in html and said in text
    assert "<details open>" in html and "1 comparisons: 0 ok, 1 failed" in text
    assert live("--kernel", str(image), "--report", str(tmp_path / "no" / "page.html"))[0] == 2


def test_names_follow_the_version() -> None:
    """A function that an old kernel calls otherwise must not be taken for one that it lacks."""
    assert name_of("folio_remove_rmap_ptes", (6, 1)) == "page_remove_rmap"
    assert name_of("folio_remove_rmap_ptes", (6, 12)) == "folio_remove_rmap_ptes"
    assert name_of("folio_mark_dirty", (5, 10)) == "set_page_dirty"
    assert name_of("tlb_flush_rmaps", (6, 1)) is None
    assert guest.calls(["tlb_flush_mmu", "tlb_finish_mmu", "tlb_flush_mmu"], ["tlb_flush_mmu", "tlb_finish_mmu"]) == (
        "tlb_flush_mmu",
        "tlb_finish_mmu",
    )
