# SPDX-License-Identifier: GPL-2.0-only
"""Mutants: what is changed, and that a test catches it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ptelab.checking import Options
from ptelab.litmus.build import read
from ptelab.mutation import campaign
from ptelab.mutation.campaign import Plan
from ptelab.mutation.operators import OPERATORS, mutants

MODEL = Path(__file__).parent.parent / "model"
LITMUS = MODEL.parent / "litmus"
TEXT = '''# SPDX-License-Identifier: GPL-2.0-only
"""Some functions."""


def zap(tlb: mmu_gather, force_flush: bool, old: pte_t) -> pte_t:
    """Every shape."""
    tlb.freed_tables = True
    pte, ptl = pte_offset_map_lock(mm, pmd, addr)
    spin_lock(mm.lock)
    if not pte_same(pte.pte, old):
        spin_unlock(mm.lock)
        return old
    nr = 1
    if force_flush:
        tlb_flush_mmu_tlbonly(tlb)
    pte_unmap_unlock(pte, ptl)
    flush_tlb_page(vma, addr)
    folio_remove_rmap_ptes(folio, vma)
    tlb_flush_mmu_tlbonly(tlb)
    tlb_flush_mmu_free(tlb)
    vma.flush_mm = False
    flush_tlb_mm(mm)
    ptep_clear_flush(vma, addr, pte)
    refs = folio_ref_count(folio)
    set_pte_at(mm, addr, pte, new)
    folio_mark_dirty(folio)
    old = ptep_clear_flush(vma, addr, pte)
    if pte_dirty(old):
        new = pte_wrprotect(old)
    huge = pmdp_invalidate(vma, addr, pmd)
    seen = pmdp_get_lockless(pmd)
    if seen == huge:
        return new
    folio_mark_dirty(folio)
    spin_unlock(mm.lock)
    return xchg(ptep.pte, pte_t())
'''


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_finds_its_shape(name: str) -> None:
    """No operator may miss its own pattern, write what is no Python, or move lines."""
    found = list(mutants("linux/mm/x.py", TEXT, [name]))
    assert found, name
    for mutant in found:
        ast.parse(mutant.text)
        assert mutant.text != TEXT and mutant.text.count("\n") == TEXT.count("\n")
        assert all(TEXT.splitlines()[line - 1].strip() for line in mutant.lines)


def test_ids_do_not_depend_on_line_numbers() -> None:
    """An explanation of a survivor must not get lost when lines move."""
    moved = TEXT.replace("\n\ndef zap", "\n\n\n# a comment\ndef zap")
    names = list(OPERATORS)
    assert [m.id for m in mutants("x.py", TEXT, names)] == [m.id for m in mutants("x.py", moved, names)]


def test_a_needed_flush_is_found_needed() -> None:
    """A mutant without a needed flush must not survive its test, nor one that no test executes be called killed."""
    work = campaign.all_mutants(["mm/pgtable_generic.py"], ["drop-flush"])
    (mutant,) = [m for m in work if m.function == "ptep_clear_flush"]
    runs, left_out = campaign.measure([read(LITMUS / "store+writeback.litmus")], ["x86_64"], Options())
    assert runs and not left_out
    assert campaign.judge(mutant, runs, Plan(Options())).verdict == campaign.KILLED
    assert campaign.judge(mutant, [], Plan(Options())).verdict == campaign.NOT_REACHED


def test_a_page_table_lock_can_be_dropped_where_the_lockless_map_is_known() -> None:
    """The mutant of zap's page-table lock must not be refused as no dialect: an import must not be written twice."""
    (mutant,) = [
        m for m in campaign.all_mutants(["mm/memory.py"], ["drop-lock"])
        if m.function == "zap_pte_range" and "page-table lock" in m.what
    ]  # fmt: skip
    runs, _ = campaign.measure([read(LITMUS / "fault+madvise.litmus")], ["x86_64"], Options())
    assert campaign.judge(mutant, runs, Plan(Options())).verdict == campaign.KILLED


def test_what_was_judged_is_kept(tmp_path: Path) -> None:
    """A run that was cut off must not lose what it has judged, nor trip over half a line."""
    state = tmp_path / "state.jsonl"
    judged = campaign.Judged("a:b:c:1", "without x", campaign.SURVIVED, passed=("t (x86_64)",))
    campaign.write_state(state, judged)
    state.write_text(state.read_text() + '{"id": "half')
    assert campaign.read_state(state) == {judged.id: judged}


def test_tests_that_do_not_pass_are_named() -> None:
    """A survivor must not rest on tests that were left out without a word."""
    runs, left_out = campaign.measure([read(LITMUS / "store+writeback.litmus")], ["x86_64"], Options(time_s=1e-9))
    assert not runs and left_out == ["store+writeback (x86_64): incomplete"]


def test_explained_survivors_are_mutants() -> None:
    """No explanation may outlive its mutant."""
    reasons = campaign.explanations(MODEL.parent / "docs" / "survivors.toml")
    ids = {m.id for m in campaign.all_mutants([], list(OPERATORS))}
    assert not reasons.keys() - ids
