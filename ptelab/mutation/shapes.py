# SPDX-License-Identifier: GPL-2.0-only
"""What operators work with: the lines of a file, edits of them, and what statements look like."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

FLUSH = re.compile(r"^(?:flush_tlb_\w+|tlb_flush_mmu\w*|__?tlb_flush_\w+|tlb_flush|tlb_table_invalidate|"
                   r"try_to_unmap_flush\w*|arch_tlbbatch_flush|tlbi|tlbi_is|dsb_ish|__tlbi_sync_\w+|"
                   r"local_flush_tlb\w+|__flush_tlb_range\w*|invlpg|write_cr3|idte\w*|ipte|rdp|purge\w*|"
                   r"tlb_remove_table_sync_one)$")  # fmt: skip
UNLOCK = re.compile(r"^(?:pte_unmap_unlock|\w+_unlock|\w+_unlock_\w+|spin_unlock|up_read|up_write|drop_rmap_locks|"
                    r"mmap_\w+_unlock|page_vma_mapped_walk_done)$")  # fmt: skip
LOCKS = {
    "spin_lock": "spin_unlock",
    "down_read": "up_read",
    "down_write": "up_write",
    "folio_lock": "folio_unlock",
    "mmap_read_lock": "mmap_read_unlock",
    "mmap_write_lock": "mmap_write_unlock",
    "i_mmap_lock_read": "i_mmap_unlock_read",
    "i_mmap_lock_write": "i_mmap_unlock_write",
    "i_mmap_trylock_read": "i_mmap_unlock_read",
    "folio_trylock": "folio_unlock",
    "take_rmap_locks": "drop_rmap_locks",
    "local_irq_save": "local_irq_restore",
    "native_irq_disable": "native_irq_enable",
    "raw_write_seqcount_begin": "raw_write_seqcount_end",
}
DROP = re.compile(r"^(?:folio_remove_rmap\w*|folio_put|__tlb_remove\w*|tlb_flush_rmaps|unpin_user_page)$")
FREE = re.compile(r"^(?:tlb_remove_table_free|tlb_flush_mmu_free|call_rcu|folios_put_refs|tlb_table_flush|free_table|"
                  r"tlb_batch_pages_flush|tlb_remove_table_one)$")  # fmt: skip
MARK = re.compile(r"^(?:folio_mark_dirty|set_page_dirty|SetPageAnonExclusive|ClearPageAnonExclusive|"
                  r"inc_tlb_flush_pending|dec_tlb_flush_pending|set_tlb_ubc_flush_pending|inc_mm_tlb_gen|"
                  r"arch_tlbbatch_add_pending|flush_tlb_batched_pending|tlb_flush_rmaps|folio_wait_\w+|"
                  r"tlb_remove_\w*tlb_entry|__folio_mark_uptodate|atomic_or|atomic_andnot)$")  # fmt: skip
RECHECK = re.compile(r"pte_same|pmd_same|vmf_pte_changed|mapping !=|pmd_none|read_seqcount_retry|begun|nested|pending|"
                     r"maybe_pinned|maybe_dma_pinned|ref_count|_mapcount|folio_mapped|AnonExclusive|folio_test_ksm|"
                     r"mm_users|swapcache|needs_flush|PVMW_SYNC|test_writeback|test_dirty")  # fmt: skip
SCOPE = re.compile(r"^(?:freed_tables|cleared_ptes|cleared_pmds|delayed_rmap|flush_mm|fullmm|force_flush|vma_pfn)$")
BITS = re.compile(r"^(?:(?:pte|pmd)_(?:mk\w+|sw_mkyoung|wrprotect|clear_\w+)|maybe_mkwrite)$")
ATOMIC = re.compile(r"^(?:ptep_clear_flush|ptep_get_and_clear\w*|get_and_clear_full_ptes|pmdp_invalidate|"
                    r"pmdp_establish|pmdp_huge_\w+|ptep_modify_prot_start|ptep_xchg_\w+|xchg)$")  # fmt: skip
LOCKLESS = re.compile(r"^(?:ptep_get_lockless|pmdp_get_lockless|READ_ONCE|atomic_read)$")

Lines = dict[int, str]
"""New texts of lines, numbered from 1."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: `id` is file:function:operator:number, `lines` are those changed, `text` the whole file."""

    id: str
    operator: str
    path: str  # in the model
    function: str
    lines: tuple[int, ...]
    text: str
    what: str

    def beside(self) -> set[int]:
        """The lines of conditions and returns that are changed, of what stands in them, and just before and after."""
        found: set[int] = set()
        for node in ast.walk(self._tree()):
            for field in ("body", "orelse"):
                body = getattr(node, field, [])
                for i, inner in enumerate(body if isinstance(body, list) else ()):
                    if isinstance(inner, ast.If | ast.While | ast.Return) and inner.lineno in self.lines:
                        for near in body[max(i - 1, 0) : i + 2]:
                            found.update(range(near.lineno, near.end_lineno + 1))
        return found

    def _tree(self) -> ast.FunctionDef:
        tree = ast.parse(self.text)
        return next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == self.function)

    def changed(self) -> str:
        """The function as it is after the change, without its comments and docstring."""
        found = self._tree()
        return "\n".join(ast.unparse(n) for n in found.body[bool(ast.get_docstring(found)) :])


class Source:
    """A file's lines, and how statements in them are changed."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.tree = ast.parse(text)

    def span(self, node: ast.stmt) -> range:
        """The numbers of a statement's lines."""
        return range(node.lineno, (node.end_lineno or node.lineno) + 1)

    def text(self, node: ast.stmt) -> str:
        """A statement on one line."""
        return " ".join(ast.unparse(node).split("\n")).strip()

    def blank(self, node: ast.stmt) -> Lines:
        """Nothing in a statement's place."""
        return dict.fromkeys(self.span(node), "") | {node.lineno: " " * node.col_offset + "pass"}

    def put(self, node: ast.stmt, *texts: str) -> Lines:
        """Other text in a simple statement's place; several statements are joined by semicolons."""
        edit = dict.fromkeys(self.span(node), "")
        return edit | {node.lineno: " " * node.col_offset + "; ".join(t.strip() for t in texts)}

    def head(self, node: ast.If | ast.While, test: str) -> Lines:
        """Another condition."""
        start = self.lines[node.lineno - 1].lstrip()
        word = "elif" if start.startswith("elif") else "while" if isinstance(node, ast.While) else "if"
        edit = dict.fromkeys(range(node.lineno, node.body[0].lineno), "")
        return edit | {node.lineno: f"{' ' * node.col_offset}{word} {test}:"}

    def swap(self, body: list[ast.stmt], i: int, j: int) -> Lines:
        """Statement j before statement i, each of any kind and length."""
        first = body[i].lineno
        moved = [self.lines[n - 1] for n in self.span(body[j])]
        kept = self.lines[first - 1 : body[j].lineno - 1]
        return dict(enumerate(moved + kept, first))

    def imports(self, module: str, name: str) -> Lines:
        """A missing import, behind the file's docstring, where it moves no line."""
        if re.search(rf"\b{name}\b", "\n".join(self.lines)):
            return {}
        end = self.tree.body[0].end_lineno or 1
        return {end: f"{self.lines[end - 1]}; from {module} import {name}"}


def called(node: ast.stmt) -> str:
    """The function that a statement calls and whose result it drops; empty if it is something else."""
    return call_name(node.value) if isinstance(node, ast.Expr) else ""


def call_name(node: ast.expr) -> str:
    """The name of the function that an expression calls; empty if it is something else."""
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def arguments(node: ast.expr) -> list[str]:
    """The arguments of a call, as they are written."""
    return [ast.unparse(a) for a in node.args] if isinstance(node, ast.Call) else []


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """Every call of a function by its name inside a node."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name):
            yield inner


def leaves(node: ast.stmt) -> bool:
    """Whether control may leave a list of statements in one of them."""
    return any(isinstance(n, ast.Return | ast.Break | ast.Continue) for n in ast.walk(node))


def simple(node: ast.stmt) -> bool:
    """Whether a statement is an assignment or a call."""
    return isinstance(node, ast.Expr | ast.Assign | ast.AugAssign | ast.AnnAssign)


def acts(node: ast.stmt) -> bool:
    """Whether a statement may touch what others see."""
    return any(isinstance(n, ast.Call | ast.Attribute | ast.Subscript) for n in ast.walk(node))


def clears(node: ast.stmt) -> bool:
    """Whether a statement empties an entry with its flush."""
    return bool(re.search(r"\b(?:ptep_clear_flush|pmdp_collapse_flush|ptep_xchg_direct)\(", ast.unparse(node)))


def replaced(node: ast.stmt, old: ast.expr, new: str) -> str:
    """A simple statement with other text for one of its expressions."""

    class Swap(ast.NodeTransformer):
        def visit(self, inner: ast.AST) -> ast.AST:
            there = isinstance(inner, ast.expr) and ast.dump(inner) == wanted
            return ast.parse(new, mode="eval").body if there else self.generic_visit(inner)

    wanted = ast.dump(old)
    return ast.unparse(Swap().visit(ast.parse(ast.unparse(node))))
