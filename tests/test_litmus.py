# SPDX-License-Identifier: GPL-2.0-only
"""Litmus files: the parser, the judge, and every bundled test on the native engine against what was measured."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ptelab import bundled, checking
from ptelab.checking import Options
from ptelab.exploration import Exploration
from ptelab.litmus import build, syntax
from ptelab.litmus import resolve as resolving
from ptelab.litmus.judge import judge
from ptelab.litmus.observe import Observation
from ptelab.litmus.parse import parse
from ptelab.litmus.resolve import resolve
from ptelab.reduce import REDUCTIONS

read = functools.cache(build.read)
FILES = bundled.litmus_files([])
OPTIONS = Options(threads=2)
SMALL = {
    "test_the_reference_machine_agrees": (300, 3000),
    "test_reductions_change_no_verdict_and_no_outcome": (80, 1000),
}
"""Which tests are also explored by the reference machine, and without reductions: with fewer states, and --exhaustive."""


def stem(path: Path) -> str:
    return path.stem


# ----------------------------------------------------------------------------------------- the bundled


@pytest.mark.parametrize("path", FILES, ids=stem)
def test_bundled_files_are_in_order(path: Path) -> None:
    """No bundled test may lack its question, its result, its situations or its row in the README."""
    test = read(path)
    assert test.name == path.stem
    assert test.expected, "no Result: line"
    assert "?" in test.question, "a test is a question"
    assert test.reach, "a test without Reach= may be empty"
    readme = (path.parent / "README.md").read_text(encoding="utf-8")
    assert f"| `{test.name}` |" in readme


def measured(path: Path, options: Options) -> dict[str, Any]:
    _, verdict = checking.check(read(path), options)
    assert verdict.status == "ok", verdict.problems
    found = verdict.exploration
    return {
        "result": verdict.result,
        "states": found.states,
        "transitions": found.transitions,
        "depth": found.depth,
        "flags": sorted(found.flags),
        "outcomes": [r.text for r in verdict.runs if not r.flag],
        "reached": sorted(found.reached),
    }


@pytest.mark.parametrize("path", FILES, ids=stem)
def test_verdicts_and_counts_are_as_measured(path: Path, golden: Callable[[Path, str], None]) -> None:
    # Counts are assertions: what must not change them does not change them unseen.
    """No verdict, count or outcome may change unseen."""
    found = {arch: measured(path, replace(OPTIONS, arch=arch)) for arch in read(path).named_profiles}
    golden(path.with_suffix(".expected"), json.dumps(found, indent=1, ensure_ascii=False) + "\n")


@functools.cache
def expected(path: Path) -> dict[str, Any]:
    """What the native engine has measured, which another test holds it to; by profile."""
    target = path.with_suffix(".expected")
    return dict(json.loads(target.read_text(encoding="utf-8"))) if target.exists() else {}


def small(most: int) -> list[tuple[Path, str]]:
    """The tests with fewer states than that, each on the profile where it has the fewest."""
    found = []
    for path in FILES:
        states, arch = min(((e["states"], arch) for arch, e in expected(path).items()), default=(most, ""))
        if states < most:
            found.append((path, arch))
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose what two searches are compared on."""
    if metafunc.function.__name__ in SMALL:
        usual, exhaustive = SMALL[metafunc.function.__name__]
        works = small(exhaustive if metafunc.config.getoption("--exhaustive") else usual)
        metafunc.parametrize(("path", "arch"), works, ids=lambda v: getattr(v, "stem", v))


def test_the_reference_machine_agrees(path: Path, arch: str) -> None:
    # Two implementations of one meaning: not alike, equal.
    """The native engine must not differ from the reference machine in anything but speed."""
    assert measured(path, replace(OPTIONS, arch=arch, engine="machine")) == expected(path)[arch]


def test_reductions_change_no_verdict_and_no_outcome(path: Path, arch: str) -> None:
    """No reduction may change a verdict, a flag or an outcome."""
    reduced, full = expected(path)[arch], measured(path, replace(OPTIONS, arch=arch, reduce=False))
    for key in ("result", "flags", "outcomes"):
        assert reduced[key] == full[key]
    assert reduced["states"] <= full["states"]


ONE_BY_ONE = ("move_charge+move_charge", "munmap+exit+nothing", "fork+pin+no_memory", "clear_refs+load_store+shmem")
"""Small tests of different kinds; bench/reductions.py compares all of them."""


@cache
def with_all(path: Path) -> dict[str, Any]:
    """What is found with all reductions."""
    return measured(path, OPTIONS)


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
@pytest.mark.parametrize("test", ONE_BY_ONE)
def test_no_reduction_changes_an_answer(test: str, name: str) -> None:
    """No reduction may change a verdict, a flag, a situation or an outcome, nor add a tenth of the states."""
    path = bundled.directory("litmus") / f"{test}.litmus"
    reduced, without = with_all(path), measured(path, replace(OPTIONS, without=frozenset([name])))
    for key in ("result", "flags", "outcomes", "reached"):
        assert without[key] == reduced[key]
    # Two may get in each other's way: which position of a cycle is never ample depends on the code that is left.
    assert without["states"] * 10 >= reduced["states"] * 9


# ------------------------------------------------------------------------------------------- the parser

TEXT = """MM some+test
"an old string { ignored"
(*
 * Result: Sometimes
 *
 * What is this?
 *)
Arch=x86_64,arm64
Patch=123456789abc:Never(arm64),mutant:Always
{
 mm_struct m; (* a comment (* within *) another *)
 file f={1,0};
 vma x=(mm:m,file:f,pages:2);
 [PTE(x + PAGE_SIZE)]=(oa:PA(f[1]),valid:1,dbm:0,db:0,af:1);
 1:tlb(x)=(write:1,dirty:1);
 0:cpu=1
}

P0(char __user *x)
{
	int r0 = READ_ONCE(*x), r1;	// to the end }

	/* exists ( */
	if (r0 == 1 && !(r0 > 0x2))
		WRITE_ONCE(*(x + PAGE_SIZE), r0 + 1);
	else {
		r1 = munmap(x, 2 * PAGE_SIZE);
	}
}

P1(char __user *x, struct file *f) { writeback(f, 1); }

locations [0:r0; f[1]; [PTE(x)]]
filter (0:r0=1)
exists (~(f[1]=2 /\\ fault(P1,x,SIGSEGV)) => flag lost_write \\/ not 0:r1!=-EINVAL)
"""


def test_every_part_is_understood() -> None:
    """No part of a litmus file may be dropped or misread."""
    test = resolve(parse(TEXT, "x.litmus"))
    assert (test.name, test.expected, test.arches) == ("some+test", "Sometimes", ("x86_64", "arm64"))
    assert test.question == "What is this?"
    assert [(c.id, c.result, c.arches) for c in test.patches] == [
        ("123456789abc", "Never", ("arm64",)),
        ("mutant", "Always", ("x86_64", "arm64")),
    ]
    assert test.ptes["x", 1].write is False and test.ptes["x", 1].young
    assert test.ptes["x", 0].dirty, "a warm TLB entry implies the entry"
    assert [(c.cpu, c.mm) for c in test.columns] == [(1, "m"), (0, "m")]
    condition = test.litmus.condition
    assert condition is not None and isinstance(condition.prop, syntax.Connect) and condition.prop.op == "implies"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("if (r0", "while (r0", 24), ("WRITE_ONCE(*(", "WRITE_ONCE(*", 25), ("\nexists", "\nexist", 35)],
)
def test_places_in_a_file_survive_the_blanking_of_comments(old: str, new: str, line: int) -> None:
    """Comments must not shift the places of errors."""
    with pytest.raises(syntax.LitmusError, match=rf"^x\.litmus:{line}:"):
        parse(TEXT.replace(old, new), "x.litmus")


def test_an_unfinished_comment_is_found_where_it_begins() -> None:
    """An unfinished comment must not be blamed on the end of the file."""
    with pytest.raises(syntax.LitmusError, match=r"^x.litmus:11:15: .*\*\) is missing"):
        parse(TEXT.replace("another *)", "another"), "x.litmus")


# -------------------------------------------------------------------------------------------- the judge


def simple(claim: str, result: str, header: str = "") -> resolving.Test:
    text = f"MM t\n(*\n * Result: {result}\n *)\n{header}\n{{ mm_struct m; file f={{0}}; vma x=(mm:m,file:f); }}\n"
    return resolve(parse(text + "P0(char __user *x) { int r0 = READ_ONCE(*x); }\n" + claim, "t.litmus"))


OBSERVED = [Observation("0:r0", (("", "", "u8"),))]


def explored(*outcomes: int, flags: tuple[str, ...] = (), complete: bool = True) -> Exploration:
    found = Exploration(complete=complete, stopped="" if complete else "time")
    found.outcomes = {(o,): [(0, 0)] * (o + 1) for o in outcomes}
    found.flags = {name: [(0, 0)] for name in flags}
    return found


@pytest.mark.parametrize(
    ("claim", "expected", "found", "result", "status"),
    [
        ("exists (0:r0=1)", "Never", explored(0, 2), "Never", "ok"),
        ("exists (0:r0=1)", "Sometimes", explored(0, 1), "Sometimes", "ok"),
        ("exists (0:r0=1)", "Always", explored(1), "Always", "ok"),
        ("exists (0:r0=1)", "Never", explored(0, 1), "Sometimes", "failed"),
        ("exists (0:r0=1)", "Maybe", explored(0, 1), "Sometimes", "ok"),
        ("forall (0:r0=1)", "Always", explored(1), "Always", "ok"),
        ("~exists (0:r0=1)", "Never", explored(0), "Never", "ok"),
        # A flag that the condition does not name is never right.
        ("exists (0:r0=1)", "Never", explored(0, flags=("lost_write",)), "Never", "failed"),
        ("exists (0:r0=1)", "Maybe", explored(0, flags=("lost_write",)), "Never", "failed"),
        ("exists (flag lost_write)", "Sometimes", explored(0, flags=("lost_write",)), "Sometimes", "ok"),
        ("exists (flag lost_write)", "Always", explored(flags=("lost_write",)), "Always", "ok"),
        # Values of a flagged run are unknown, and so is what depends on them.
        ("exists (~0:r0=1)", "Never", explored(1, flags=("deadlock",)), "Never", "failed"),
        ("exists (0:r0=1 \\/ flag deadlock)", "Sometimes", explored(0, flags=("deadlock",)), "Sometimes", "ok"),
        ("", "Never", explored(0, 1), "Never", "ok"),
        ("", "Never", explored(0, flags=("lost_write",)), "Sometimes", "failed"),
        ("", "DEADLOCK", explored(flags=("deadlock",)), "DEADLOCK", "ok"),
        ("", "DEADLOCK", explored(0, flags=("deadlock",)), "Sometimes", "failed"),
        # A limit: what was found counts, what was not found proves nothing.
        ("exists (0:r0=1)", "Never", explored(0, complete=False), "Unknown", "incomplete"),
        ("exists (0:r0=1)", "Never", explored(1, complete=False), "Sometimes", "failed"),
        ("exists (0:r0=1)", "Sometimes", explored(0, 1, complete=False), "Sometimes", "incomplete"),
        ("exists (0:r0=1)", "Always", explored(0, complete=False), "Unknown", "failed"),
        ("exists (0:r0=1)", "Never", explored(0, flags=("lost_write",), complete=False), "Unknown", "failed"),
        # A test of which no run ends says nothing.
        ("exists (0:r0=1)", "Never", explored(), "Never", "failed"),
        ("filter (0:r0=0) exists (0:r0=1)", "Never", explored(0, 1), "Never", "ok"),
        ("filter (0:r0=7) exists (0:r0=1)", "Never", explored(0, 1), "Never", "failed"),
    ],
)
def test_what_was_found_is_judged(claim: str, expected: str, found: Exploration, result: str, status: str) -> None:
    """No exploration may be judged better than it was."""
    verdict = judge(simple(claim, expected), OBSERVED, found)
    assert (verdict.result, verdict.status) == (result, status), verdict.problems


def test_a_situation_that_no_run_goes_through_fails() -> None:
    """A situation that is not reached must not pass."""
    test = simple("exists (0:r0=1)", "Never", "Reach=here,there")
    found = explored(0)
    found.reached = {"here"}
    assert judge(test, OBSERVED, found).problems == ["situation there is not reached"]


def test_the_shortest_run_that_shows_the_failure_is_the_example() -> None:
    """The example must not be longer than it has to be."""
    verdict = judge(simple("exists (~0:r0=0)", "Never"), OBSERVED, explored(0, 2, 1))
    assert verdict.example is not None and len(verdict.example.choices) == 2


@pytest.mark.parametrize("arch", ["x86_64", "arm64", "s390"])
def test_every_bound_is_documented(arch: str, tmp_path: Path) -> None:
    """A test's author must find each bound that may be set in docs/litmus.md, and none that may not."""
    text = bundled.litmus_files(["madvise+load+refused"])[0].read_text(encoding="utf-8")
    path = tmp_path / "a.litmus"
    path.write_text(re.sub("^MM .*", "MM a\nBounds=NONE:1", text, count=1), encoding="utf-8")
    with pytest.raises(syntax.LitmusError) as error:
        build.build(build.read(path), arch)
    free = set(re.findall(r"[A-Z][A-Z_]+", str(error.value).partition("; write ")[2]))
    docs = (bundled.directory("litmus").parent / "docs" / "litmus.md").read_text(encoding="utf-8")
    table = docs.split("## Bounds\n")[1].split("\n## ")[0]
    assert {"SPARE_PAGES", "PTRS_PER_PTE"} <= free <= set(re.findall("`([A-Z_]+)`", table))
