# SPDX-License-Identifier: GPL-2.0-only
"""The command line: bad input is one line and exit 2, whatever is bad; good input is what the scripts of herd read."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ptelab import bundled, checking, frontend
from ptelab.checking import Options
from ptelab.cli import cli
from ptelab.commands.shared import ProgressLine
from ptelab.coverage import FileCoverage
from ptelab.litmus import build
from ptelab.source import Sources
from ptelab.trace import LETTERS

SMALL = "munmap+store_after"
PETERSON = bundled.directory("litmus").parent / "bench" / "peterson.py"
SMALL_FILE = bundled.directory("litmus") / f"{SMALL}.litmus"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(w) for w in words])


def small(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """The small test with pieces of its text replaced."""
    text = SMALL_FILE.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "changed.litmus"
    path.write_text(text, encoding="utf-8")
    return path


def is_one_line_and_exit_2(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("ptelab: ") and result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


# --------------------------------------------------------------------------------------------- bad input


def test_a_missing_file() -> None:
    """A file that is not there must not end in a traceback."""
    is_one_line_and_exit_2(run("check", "/nowhere/x.litmus"), "/nowhere/x.litmus")


def test_an_empty_directory(tmp_path: Path) -> None:
    """A directory without tests must not count as a pass."""
    is_one_line_and_exit_2(run("check", tmp_path), str(tmp_path), "no litmus file")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """Bytes that are no text must not end in a traceback."""
    path = tmp_path / "x.litmus"
    path.write_bytes(b"MM x\n\xff\xfe{}\n")
    is_one_line_and_exit_2(run("check", path), "UTF-8")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("MM ", "C ", [":1:1:", "MM NAME"]),
        ("Result: Always", "Result: Perhaps", [":3:4:", "Never, Sometimes, Always"]),
        ("Arch=", "Arhc=", ["Arch, Reach, Patch or Bounds"]),
        ("Arch=x86_64", "Arch=mips", ["mips", "x86_64, x86_64+tce, x86_64+up, arm64"]),
        ("Arch=", "Reach=store_fault\nArch=", ["store_fault", "store_faults"]),
        ("Arch=", "Bounds=NO_SUCH:1\nArch=", ["NO_SUCH", "MAX_GATHER_BATCH"]),
        ("Arch=", "Bounds=NR_PAGES:1\nArch=", ["NR_PAGES follows from the test"]),
        ("Arch=", "Bounds=PTRS_PER_PTE:0\nArch=", ["PTRS_PER_PTE cannot be 0", "from 1"]),
        ("Arch=", "Bounds=MMU_GATHER_BUNDLE:9\nArch=", ["MMU_GATHER_BUNDLE cannot be 9", "from 2 to 3"]),
        ("Arch=", "Bounds=NR_PAGES\nArch=", ["NR_PAGES", "NAME:NUMBER"]),
        ("mm:m,", "mm:q,", ["'q'", "mm:m"]),
        ("munmap(x", "mumnap(x", ["mumnap", "munmap(addr, len)"]),
        ("munmap(x, PAGE_SIZE)", "munmap(x)", ["munmap takes 2"]),
        ("munmap(x, PAGE_SIZE)", "munmap(x, 17)", ["PAGE_SIZE"]),
        ("munmap(x, PAGE_SIZE)", "clear_refs_accessed()", ["is about pages on lists", "Bounds=LRU_LISTS:1"]),
        ("WRITE_ONCE(*x, 2);", "while (1) ;", ["while"]),
        ("WRITE_ONCE(*x, 2);", "*x = 2;", ["WRITE_ONCE"]),
        ("WRITE_ONCE(*x, 2);", "WRITE_ONCE(*x, 2)", ["';'"]),
        ("fault(P0,x)", "fault(P4,x)", ["P4"]),
        ("fault(P0,x)", "flag lost_writes", ["lost_writes", "lost_write"]),
        ("f[0]=1 ", "f[3]=1 ", ["f has 1 page"]),
        ("rss(m)=0)", "rss(m)=0", ["')'"]),
    ],
)
def test_a_malformed_litmus_file_is_located(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    """No mistake in a litmus file may be reported without its place and what to write."""
    path = small(tmp_path, (old, new))
    is_one_line_and_exit_2(run("check", path), f"{path}:", *words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("file f", "shmem f", ["pages of files on disk"]),
        ("flags:shared", "flags:shared,locked:1", ["neither locked nor huge"]),
        (
            "P0(char __user *x)",
            "P0(char __user *x, struct file *f)\n{ reclaim(f, 0, 1); }\nP1(char __user *x)",
            ["squeeze"],
        ),
    ],
)
def test_what_is_on_no_list_is_refused(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    """Pages that the model would put on no list, or take off none, must not be reclaimed by lists."""
    path = small(tmp_path, ("Arch=", "Bounds=LRU_LISTS:1\nArch="), (old, new))
    is_one_line_and_exit_2(run("check", path), f"{path}:", *words)


def test_too_many_pages_for_the_invalidations_of_arm64(tmp_path: Path) -> None:
    """What a flush covers must fit where it is kept, and a test that is too large must say so."""
    pages = ("file f={1}", "file f={1,1,1,1,1,1,1,1}"), ("file:f,", "file:f,pages:8,"), ("x, P", "x, 8 * P")
    assert run("check", "--arch", "arm64", small(tmp_path, *pages)).exit_code == 0
    many = small(tmp_path, ("file:f,", "file:f,start:60,"))
    is_one_line_and_exit_2(run("check", "--arch", "arm64", many), "pages are too many", "use fewer")


def test_an_unknown_architecture() -> None:
    """An unknown architecture must not be taken for another."""
    is_one_line_and_exit_2(run("check", "--arch", "vax", SMALL), "vax", "x86_64")


def test_a_test_that_is_not_about_an_architecture_is_skipped_with_the_reason() -> None:
    """What cannot be checked must not look checked."""
    for arch in ("arm64", "s390"):
        result = run("check", "--arch", arch, "madvise+idle+store")
        assert result.exit_code == 4
        assert f", not {arch}" in result.stdout


def test_a_test_of_one_profile_is_not_run_on_another() -> None:
    """A test about a kernel for one CPU must not be judged on another kernel of the same architecture."""
    name = "munmap+store+writeback+one_cpu"
    assert "the test is about x86_64+up, not x86_64" in run("check", name).stdout
    assert run("check", "--arch", "x86_64+up", name).exit_code == 0


def test_an_unknown_patch_names_the_known_ones() -> None:
    """A mistyped patch must not leave the user to guess."""
    is_one_line_and_exit_2(run("check", "--patch", "5df397dec7c3", SMALL), "5df397dec7c3", "5df397dec7c4")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing of a diff\n", ["no unified diff"]),
        (
            "--- a/linux/mm/rmap.py\n+++ b/linux/mm/rmap.py\n@@ -1,1 +1,1 @@\n-no such line\n+another\n",
            ["does not apply"],
        ),
        ("--- a/linux/mm/none.py\n+++ b/linux/mm/none.py\n@@ -1,1 +1,1 @@\n-x\n+y\n", ["none.py"]),
        (
            "--- a/user.py\n+++ b/user.py\n@@ -1,1 +1,2 @@\n # SPDX-License-Identifier: GPL-2.0-only\n+class (:\n",
            ["user.py:2"],
        ),
    ],
)
def test_a_patch_that_does_not_apply(tmp_path: Path, text: str, words: list[str]) -> None:
    """A patch must not be applied in part, or silently not at all."""
    path = tmp_path / "x.patch"
    path.write_text(text, encoding="utf-8")
    is_one_line_and_exit_2(run("check", "--patch", path, SMALL), *words)


def test_a_construct_outside_the_dialect(tmp_path: Path) -> None:
    """A model outside the dialect must not end in a traceback."""
    path = tmp_path / "x.patch"
    spdx = "# SPDX-License-Identifier: GPL-2.0-only"
    path.write_text(
        f"--- a/filesystem.py\n+++ b/filesystem.py\n@@ -1,1 +1,2 @@\n {spdx}\n+import os\n", encoding="utf-8"
    )
    is_one_line_and_exit_2(run("check", "--patch", path, SMALL), "filesystem.py:2:1", "write ")


def test_a_missing_model() -> None:
    """A model that is not there must not be replaced by the bundled one."""
    is_one_line_and_exit_2(run("check", "--model", "/nowhere", SMALL), "/nowhere")


def test_a_directory_that_is_no_model(tmp_path: Path) -> None:
    """A directory without a model must not end in a traceback."""
    is_one_line_and_exit_2(run("check", "--model", tmp_path, SMALL), str(tmp_path))


def test_an_unwritable_trace(tmp_path: Path) -> None:
    """A check must not run for long and then fail to write its trace."""
    for path in ("/nowhere/trace.txt", tmp_path):
        is_one_line_and_exit_2(run("check", "--trace", path, SMALL), str(path))


def test_an_output_that_cannot_be_written() -> None:
    """A full or closed output must not end in a traceback."""
    for words in (["check", "--json", SMALL], ["list"]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            command = [sys.executable, "-m", "ptelab", *words]
            found = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert found.returncode == 2
        assert found.stderr.startswith("ptelab: the output cannot be written") and found.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["check", ""],
        ["check", "--memory", "lots"],
        ["check", "--time", "-1"],
        ["check", "--threads", "0"],
        ["check", "--engine", "steam"],
        ["check", "--no-such-option"],
        ["no-such-command"],
        ["replay", SMALL],
        ["replay", SMALL, "nonsense"],
        ["replay", SMALL, "9*3"],
        ["show", "no_such_function"],
    ],
)
def test_bad_arguments(words: list[str]) -> None:
    """No bad argument may end in a traceback or in another exit status than 2."""
    is_one_line_and_exit_2(run(*words))


# -------------------------------------------------------------------------------------------------- good


def test_the_output_has_the_lines_that_the_scripts_of_herd_read() -> None:
    """No line that scripts read may be missing or moved."""
    result = run("check", SMALL)
    assert result.exit_code == 0, result.output
    assert re.search(rf"^Test {re.escape(SMALL)} Allowed$", result.stdout, re.MULTILINE)
    for line in (r"States 1", r"Ok", r"Witnesses", r"Positive: 1 Negative: 0", r"Condition exists \(.*\)"):
        assert re.search(f"^{line}$", result.stdout, re.MULTILINE), line
    assert re.search(rf"^Observation {re.escape(SMALL)} Always 1 0$", result.stdout, re.MULTILINE)
    assert re.search(rf"^Time {re.escape(SMALL)} \d+\.\d\d$", result.stdout, re.MULTILINE)


def test_json_is_one_object_a_test() -> None:
    """No promised key may be missing from the JSON."""
    result = run("check", "--json", SMALL, "readonly_store")
    assert result.exit_code == 0, result.output
    objects = [json.loads(line) for line in result.stdout.splitlines()]
    assert [o["test"] for o in objects] == [SMALL, "readonly_store"]
    wanted = "test arch patches result expected ok flags outcomes states transitions depth seconds complete bounds reached choices"
    assert set(wanted.split()) <= set(objects[0])
    assert objects[0]["result"] == objects[0]["expected"] == "Always" and objects[0]["ok"] and objects[0]["complete"]


def test_a_result_that_is_not_as_expected_exits_1_and_can_be_replayed(tmp_path: Path) -> None:
    """A failure must not be shown without a command that replays it."""
    path = small(tmp_path, ("Result: Always", "Result: Never"))
    result = run("check", path)
    assert result.exit_code == 1
    assert "!!! result Always, expected Never" in result.stdout
    replay = re.search(r"^Replay: ptelab replay \S+ (\S+)$", result.stdout, re.MULTILINE)
    assert replay, result.stdout
    replayed = run("replay", path, replay[1].strip("'"))
    assert replayed.exit_code == 0, replayed.output
    assert "P0" in replayed.stdout and "Outcome" in replayed.stdout


def test_a_situation_that_is_not_reached_makes_a_test_fail(tmp_path: Path) -> None:
    """A Never must not be empty."""
    result = run("check", small(tmp_path, ("Arch=", "Reach=page_table_install_lost\nArch=")))
    assert result.exit_code == 1
    assert "situation page_table_install_lost is not reached" in result.stdout


def test_a_filter_that_leaves_nothing_makes_a_test_fail(tmp_path: Path) -> None:
    """A filter that drops every run must not make a Never."""
    result = run("check", small(tmp_path, ("exists (", "filter (f[0]=7)\nexists (")))
    assert result.exit_code == 1
    assert "the filter leaves no outcome" in result.stdout


@pytest.mark.parametrize("engine", ["native", "machine"])
def test_a_limit_is_never_a_never(engine: str) -> None:
    """A limit must not be reported as a pass."""
    result = run("check", "--json", "--engine", engine, "--memory", "1K", "--time", "0.001", "store+writeback")
    assert result.exit_code == 3, result.output
    found = json.loads(result.stdout)
    assert found["result"] == "Unknown" and not found["complete"] and not found["ok"]


LOST_WRITE = "0*17,2*12,1,2,6*2,0*11,6*2,0*3"


def test_a_trace_says_what_must_hold_and_where_its_steps_stand() -> None:
    """A reader must not need the tool's source to find a step in the model, or to know what a flag means."""
    shown = run("replay", "munmap+store+writeback", LOST_WRITE, "--patch", "5df397dec7c4")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert all(len(line) <= 72 for line in lines)
    text = " ".join(" ".join(lines).split())
    assert (
        "Flag lost_write: page f[0] (model/invariants/content.py:45) What must hold: At quiescence a page newer" in text
    )
    assert (
        "13 P0 ptep_get_and_clear (model/linux/arch/x86/include/asm/pgtable.py:165) < ptep_get_and_clear_full <" in text
    )
    assert "< zap_present_ptes < … < munmap" in text and "csd(1) sender=1,end= 1,stride=1→none" in text
    legend = text[text.index("* the ending depends") : text.index("Flag lost_write")]
    failed = run("check", "cow_reuse+madvise", "--patch", "be068f29034f")
    assert "(model/stubs/memory.py:100)\n  What must hold: assert unlocked\n" in failed.stdout
    assert "P present" in legend and "csd: what a CPU is asked to flush" in legend and "DBM" not in legend


@pytest.mark.parametrize("arch", ["x86_64", "arm64", "s390"])
def test_each_bit_of_an_entry_has_a_letter_of_its_own(arch: str) -> None:
    """Two bits of one record must not look the same in a trace."""
    structs = frontend.compile_all(Sources(arch)).module.structs
    records = [f.parts for s in structs.values() for f in s.fields if len(f.parts) > 1]
    assert any(name == "pfn" for parts in records for name, _ in parts)
    for parts in records:
        names = {name.rpartition(".")[2] for name, type_ in parts if type_.kind == "bool"}
        letters = [LETTERS[name][0] for name in names if name in LETTERS]
        assert len(letters) == len(set(letters)), names
        assert "pfn" not in (name for name, _ in parts) or names <= LETTERS.keys(), names


def test_traces_are_written_as_text_and_as_json(tmp_path: Path) -> None:
    """A trace must not be lost for lack of a failure to print it."""
    assert run("check", "--trace", tmp_path / "t.txt", SMALL).exit_code == 0
    assert "P0" in (tmp_path / "t.txt").read_text(encoding="utf-8")
    assert run("check", "--trace", tmp_path / "t.json", SMALL).exit_code == 0
    trace = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert trace["test"] == SMALL and trace["steps"]


def test_a_copy_of_the_model_can_be_used(tmp_path: Path) -> None:
    """A copy of the model must not behave differently from the bundled one."""
    import shutil

    from ptelab.source import bundled_model

    shutil.copytree(bundled_model(), tmp_path / "copy")
    assert run("check", "--model", tmp_path / "copy", SMALL).exit_code == 0


def test_show_prints_source_and_ir() -> None:
    """No function may be shown without its source or without its IR."""
    result = run("show", "folio_mkclean")
    assert result.exit_code == 0, result.output
    assert "def folio_mkclean(folio: Folio)" in result.stdout and "rmap.py:" in result.stdout


def test_list_shows_every_test_as_a_question_and_every_patch() -> None:
    """No test and no patch may be missing from the list."""
    result = run("list")
    assert result.exit_code == 0
    for path in bundled.litmus_files([]):
        assert path.stem in result.stdout
    for patch in bundled.patches().values():
        assert patch.id in result.stdout and patch.subject[:30] in result.stdout


def test_the_command_is_also_a_module() -> None:
    """`python -m ptelab` must not differ from `ptelab`."""
    found = subprocess.run([sys.executable, "-m", "ptelab", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("ptelab, version ")


def test_coverage_names_what_no_test_has_executed(tmp_path: Path) -> None:
    """A line that no test has executed must not count as covered, nor one that was executed as missed."""
    written = tmp_path / "coverage.json"
    result = run("check", "munmap+store_after", "--coverage", "--coverage-json", str(written))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    place = next(i for i, line in enumerate(lines) if line.endswith("model/linux/mm/memory.py"))
    missed = " ".join(itertools.takewhile(lambda line: "not reached" in line, lines[place + 1 :]))
    assert "(do_cow_fault)" in missed and "(unmap_vmas)" not in missed
    files = json.loads(written.read_text())["files"]
    (memory,) = [f for path, f in files.items() if path.endswith("model/linux/mm/memory.py")]
    functions = {m["function"] for m in memory["missed"]}
    assert "do_cow_fault" in functions and "unmap_vmas" not in functions and memory["lines"] > len(memory["missed"])


BRANCHES = "Branches never taken, by how many accesses to shared state lie behind them"


def explanation_of(*words: str | Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run("check", "--explain", "--json", *words).stdout)["explanation"]
    return told


def test_a_pass_is_explained() -> None:
    """A pass must not hide what its runs never entered, nor that a page was missing only because there are so few."""
    result = run("check", "fork+pin+no_memory", "--explain")
    assert result.exit_code == 0
    assert "Reached 3 situations; the test wants (Reach=): gup_fast\n" in result.stdout
    assert (
        "Cut off by nr_Buddy:2: alloc_folio found none (model/stubs/memory.py:30); Bounds=SPARE_PAGES:N"
        in result.stdout
    )
    branches = result.stdout.splitlines()[result.stdout.splitlines().index(BRANCHES) + 1 :]
    assert "(gup_fast_fallback): mmap_read_lock, __get_user_pages" in branches[0]
    told = explanation_of("store+munmap+writeback")
    assert told["cut_off"] == [] and "do_swap_page" in told["functions_not_run"]["model/linux/mm/memory.py"]
    accesses = [branch["accesses"] for branch in told["branches_not_run"]]
    assert accesses == sorted(accesses, reverse=True) and accesses[0] > 0
    assert run("check", "fork+pin+no_memory", "--explain", "--engine", "machine").exit_code == 2


def documented(*titles: str) -> set[str]:
    """The members that docs/json.md names in the tables under these titles."""
    text = (bundled.directory("litmus").parent / "docs" / "json.md").read_text(encoding="utf-8")
    rows = [
        line
        for title in titles
        for line in text.split(f"\n{title}")[1].split("\n#")[0].splitlines()
        if line[:3] == "| `"
    ]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_json_is_documented() -> None:
    """A script must not find a member that docs/json.md does not name, nor miss one that it does."""
    told = json.loads(run("check", "--json", "--explain", "--fingerprint", "64", SMALL).stdout)
    assert told.keys() | told["explanation"].keys() == documented("## `check`")
    assert told["status"] == "incomplete" and told["stopped"] == "fingerprint"
    trace = json.loads(run("replay", "--json", SMALL, told["choices"]).stdout)
    assert trace.keys() == documented("## `replay`")
    explored = json.loads(run("explore", "--json", "--fingerprint", "64", PETERSON).stdout)
    assert explored.keys() == documented("## `explore`")
    compared = json.loads(run("diff", "--json", "-", "-", "--tests", SMALL).stdout)
    assert compared.keys() == documented("## `diff`")


def test_what_the_initial_state_rules_out_is_not_listed() -> None:
    """Code that this test cannot come to must not hide what it might have come to and did not."""
    told = explanation_of(SMALL)
    named = {name for names in told["functions_not_run"].values() for name in names}
    assert 0 < len(named) < told["functions_ruled_out"] < told["functions"]
    assert "do_huge_pmd_wp_page" not in named and "swap_read_folio" not in named
    behind = {name for branch in told["branches_not_run"] for name in branch["behind"]}
    assert behind <= named


def test_an_invariant_that_was_never_checked_is_told() -> None:
    """A claim must not seem to rest on a check that no run came to, nor on a situation that it does not name."""
    told = explanation_of("store+munmap+writeback")
    checks = {(c["flag"], c["function"]): c["asked"] for c in told["checks"]}
    assert checks["lost_write", "always_writes_survive"] and not checks["lost_write", "always_written_before_freed"]
    wanted = {s["name"]: s["reached"] for s in told["situations"] if s["claimed"]}
    assert wanted and all(wanted.values())
    assert any(not s["reached"] and s["at"] for s in told["situations"])


def test_runs_of_lines_have_no_line_that_ran_between_them() -> None:
    """A range of missed lines must not span lines that were executed."""
    file = FileCoverage(
        "f.py", [(1, "f"), (2, "f"), (4, "f"), (5, "f"), (9, "g")], [(1, "f"), (4, "f"), (5, "f"), (9, "g")]
    )
    assert file.ranges() == ["1 (f)", "4-5 (f)", "9 (g)"]


def test_a_lossy_pass_is_none() -> None:
    """With fingerprints a `Never` must not be said, while what was found stands."""
    passed = run("check", "store+munmap+writeback", "--fingerprint", "64")
    assert passed.exit_code == 3
    assert "Observation store+munmap+writeback Unknown" in passed.stdout and "\nUnknown\n" in passed.stdout
    assert "!!! states were kept as fingerprints of 64 bits: the odds of a missed one are 1 in " in passed.stdout
    failed = run("check", "scan+store", "--fingerprint", "48", "--patch", "mutant-clean-without-flush")
    assert failed.exit_code == 1, failed.stdout


def test_progress_tells_the_memory_that_the_limit_is_for() -> None:
    """A run must not seem far from its limit because only a part of its memory is shown."""
    found: list[checking.Progress] = []
    options = Options(memory_bytes=1 << 30, whole_process=True, progress=found.append)
    test = build.read(bundled.litmus_files(["munmap+store+writeback"])[0])
    checking.check(test, options)
    assert found and found[0].memory_bytes > 20 << 20  # Python alone has more
    words = ProgressLine(1 << 30).words(checking.Progress(1000, 10, 3, 100 << 20), 2)
    assert words == "1,000 states  500/s  queue 10  depth 3  100 of 1,024 MB"
