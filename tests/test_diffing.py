# SPDX-License-Identifier: GPL-2.0-only
"""Comparing two versions of the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ptelab import diffing
from ptelab.checking import Options
from ptelab.cli import cli
from ptelab.litmus.build import read

LITMUS = Path(__file__).parent.parent / "litmus"
SMALL = "store+munmap+writeback"


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["diff", *args])
    return result.exit_code, result.output


def test_a_version_is_the_same_as_itself() -> None:
    """No difference may be found where there is none, nor may counting differ between two runs."""
    status, output = run("-", "v7.0", "--tests", SMALL, "--json")
    found = json.loads(output)
    assert status == 0 and found["alike"] == 1 and not found["differences"]
    assert all(c["a"] == c["b"] for c in found["costs"]) and found["costs"]


def test_the_smallest_scenario_that_tells_two_versions_apart_is_shown() -> None:
    """A patch that loses a write must not pass as the same, and its trace must not be missing."""
    status, output = run("-", "be068f29034f", "--tests", "cow_reuse+madvise", "--tests", SMALL)
    assert status == 1
    assert "different on 1 of 2 tests" in output
    assert "only be068f29034f: flag bad_kernel_state" in output and "Flag bad_kernel_state" in output


def test_counters_are_compared_that_no_test_asks_for() -> None:
    """A version that only miscounts must not pass because no test looks at the counter."""
    found = diffing.counters("x86_64", diffing.side("-"))
    assert ("_mapcount", 0) in found["Folio"] and ("rss_stat", 3) in found["mm_struct"]
    labels = [o.label for o in diffing.watched(read(LITMUS / f"{SMALL}.litmus"), found)]
    assert "_mapcount(f[0])" in labels and "rss_stat(m)[1]" in labels


def test_what_differs_in_cost_only_is_still_counted(tmp_path: Path) -> None:
    """A flush more must not go unnoticed because the behaviour is the same."""
    patch = tmp_path / "twice.patch"
    patch.write_text(
        "--- a/model/linux/mm/mmu_gather.py\n+++ b/model/linux/mm/mmu_gather.py\n@@ -5,1 +5,2 @@\n"
        "+from asm.tlbflush import flush_tlb_mm\n"
        " from linux.mm_inline import dec_tlb_flush_pending, inc_tlb_flush_pending, mm_tlb_flush_nested\n"
        '@@ -100,3 +101,4 @@\n     """Flush, and free what was queued."""\n+    flush_tlb_mm(tlb.mm)\n'
        "     tlb_flush_mmu_tlbonly(tlb)\n     tlb_flush_mmu_free(tlb)\n"
    )
    found = diffing.compare(
        diffing.side("-"), diffing.side(str(patch)), [read(LITMUS / "munmap+store_after.litmus")], ["x86_64"], Options()
    )
    assert not found.differences
    costs = {name: (a, b) for name, a, b in diffing.total(found.costs)}
    assert costs["flushes by tlb_flush_mmu"] == (0, 2)


@pytest.mark.parametrize("word", ["no-such-patch", "-,-"])
def test_an_unknown_version_is_refused(word: str) -> None:
    """No unknown version may be taken for the bundled one."""
    status, output = run("-", word, "--tests", SMALL)
    assert status == 2 and output.startswith("ptelab: ") and output.count("\n") == 1
