# SPDX-License-Identifier: GPL-2.0-only
"""What is changed: one operator per pattern of bug, applied wherever its shape stands in the mirrored kernel.

An operator looks at a list of statements and yields other texts for some of their lines.  Lines keep their numbers, so
that what a test covers can be compared with what a mutant changes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

FLUSH = re.compile(r"^(?:flush_tlb_\w+|tlb_flush_mmu\w*|__?tlb_flush_\w+|tlb_table_invalidate|try_to_unmap_flush\w*|"
                   r"tlbi_is|dsb_ish|__tlbi_sync_\w+|local_flush_tlb\w+|idte|ipte|purge\w*|"
                   r"tlb_remove_table_sync_one)$")  # fmt: skip
UNLOCK = re.compile(r"^(?:pte_unmap_unlock|\w+_unlock|spin_unlock|up_read|up_write|mmap_\w+_unlock|i_mmap_unlock_\w+)$")
LOCKS = {
    "spin_lock": "spin_unlock",
    "down_read": "up_read",
    "down_write": "up_write",
    "folio_lock": "folio_unlock",
    "mmap_read_lock": "mmap_read_unlock",
    "mmap_write_lock": "mmap_write_unlock",
    "i_mmap_lock_read": "i_mmap_unlock_read",
    "i_mmap_lock_write": "i_mmap_unlock_write",
    "local_irq_save": "local_irq_restore",
    "raw_write_seqcount_begin": "raw_write_seqcount_end",
}
DROP = re.compile(r"^(?:folio_remove_rmap\w*|folio_put|__tlb_remove\w*|tlb_flush_rmaps|unpin_user_page)$")
FREE = re.compile(r"^(?:tlb_remove_table_free|tlb_flush_mmu_free|call_rcu|folios_put_refs|tlb_table_flush|free_table)$")
MARK = re.compile(r"^(?:folio_mark_dirty|set_page_dirty|SetPageAnonExclusive|ClearPageAnonExclusive|"
                  r"inc_tlb_flush_pending|dec_tlb_flush_pending|set_tlb_ubc_flush_pending|"
                  r"tlb_flush_rmaps|folio_wait_writeback)$")  # fmt: skip
RECHECK = re.compile(r"pte_same|pmd_same|vmf_pte_changed|mapping !=|pmd_none|read_seqcount_retry|begun|nested|pending|"
                     r"maybe_pinned|maybe_dma_pinned|ref_count|_mapcount|folio_mapped|AnonExclusive")  # fmt: skip
SCOPE = re.compile(r"^(?:freed_tables|cleared_ptes|cleared_pmds|delayed_rmap|flush_mm|fullmm|force_flush)$")


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


Edit = tuple[str, dict[int, str]]
"""What is done, in words, and the new texts of lines (numbers from 1)."""


class _Source:
    """A file's lines, and what statements look like in them."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()

    def span(self, node: ast.stmt) -> range:
        """The numbers of a statement's lines."""
        return range(node.lineno, (node.end_lineno or node.lineno) + 1)

    def text(self, node: ast.stmt) -> str:
        """A statement on one line, indented as it is."""
        return " " * node.col_offset + " ".join(ast.unparse(node).split("\n")).strip()

    def blank(self, node: ast.stmt) -> dict[int, str]:
        """Nothing in a statement's place."""
        return dict.fromkeys(self.span(node), "") | {node.lineno: " " * node.col_offset + "pass"}

    def put(self, node: ast.stmt, *texts: str) -> dict[int, str]:
        """Other text in a statement's place; several statements are joined by semicolons."""
        edit = dict.fromkeys(self.span(node), "")
        return edit | {node.lineno: " " * node.col_offset + "; ".join(t.strip() for t in texts)}


def _called(node: ast.stmt) -> str:
    """The function that a statement calls and whose result it drops; empty if it is something else."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
        return node.value.func.id
    return ""


def _clears(node: ast.stmt) -> bool:
    """Whether a statement empties an entry with its flush."""
    return bool(re.search(r"\b(?:ptep_clear_flush|pmdp_collapse_flush|ptep_xchg_direct)\(", ast.unparse(node)))


def _pairs(body: list[ast.stmt]) -> Iterator[tuple[int, ast.stmt, int, ast.stmt]]:
    """Two simple statements of a list, the second at most three after the first."""
    for i, a in enumerate(body):
        for j in range(i + 1, min(i + 4, len(body))):
            if not isinstance(body[j], ast.Expr | ast.Assign | ast.AugAssign | ast.AnnAssign):
                break
            yield i, a, j, body[j]


def _move(source: _Source, body: list[ast.stmt], i: int, j: int) -> dict[int, str]:
    """Statement j before statement i."""
    return source.put(body[i], source.text(body[j]), source.text(body[i])) | source.blank(body[j])


def unlock_before_flush(source: _Source, body: list[ast.stmt], function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 1: the lock is dropped before the flush."""
    for i, a, j, b in _pairs(body):
        if FLUSH.match(_called(a)) and UNLOCK.match(_called(b)):
            yield f"{_called(b)} before {_called(a)}", _move(source, body, i, j)
    for before, a, b in zip(body, body[1:], body[2:], strict=False):
        inside = [_called(s) for s in a.body if FLUSH.match(_called(s))] if isinstance(a, ast.If) else []
        if inside and UNLOCK.match(_called(b)) and not isinstance(before, ast.If | ast.For | ast.While):
            edit = source.put(before, source.text(before), source.text(b)) | source.blank(b)
            yield f"{_called(b)} before {inside[0]}", edit


def drop_before_flush(source: _Source, body: list[ast.stmt], function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 2: the rmap or the reference goes before the flush."""
    for i, a, j, b in _pairs(body):
        if (FLUSH.match(_called(a)) or _clears(a)) and DROP.match(_called(b)):
            yield f"{_called(b)} before the flush", _move(source, body, i, j)


def split_atomic(source: _Source, body: list[ast.stmt], function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 3: a read and a write instead of a read-modify-write."""
    for node in body:
        match node:
            case ast.Return(ast.Call(ast.Name("xchg"), [place, new])):
                where = ast.unparse(place)
                yield (
                    f"xchg of {where} as a read and a write",
                    source.put(node, f"taken = {where}", f"{where} = {ast.unparse(new)}", "return taken"),
                )
            case ast.Assign([ast.Name(target)], ast.Call(ast.Name("try_cmpxchg"), [place, old, new])):
                where, before, after = ast.unparse(place), ast.unparse(old), ast.unparse(new)
                kept = f"{where} = {after} if {target} else {where}"
                yield (
                    f"cmpxchg of {where} as a read and a write",
                    source.put(node, f"{target} = {where} == {before}", kept),
                )
            case ast.Return(ast.Call(ast.Name("test_and_set_bit" | "test_and_clear_bit" as name), [place])):
                where = ast.unparse(place)
                value = name == "test_and_set_bit"
                yield (
                    f"{name} of {where} as a read and a write",
                    source.put(node, f"taken = {where}", f"{where} = {value}", "return taken"),
                )
            case ast.Expr(ast.Call(ast.Name("atomic_inc" | "atomic_dec" as name), [place])):
                where = ast.unparse(place)
                sign = "+" if name == "atomic_inc" else "-"
                yield f"{name} of {where} as a read and a write", source.put(node, f"{where} = {where} {sign} 1")


def drop_lock(source: _Source, body: list[ast.stmt], function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 5: a lock is not taken (and its unlock goes with it)."""
    for node in body:
        name = _called(node)
        if name not in LOCKS or not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
            continue
        arguments = [ast.unparse(a) for a in node.value.args]
        edit = source.blank(node)
        for other in ast.walk(function):
            if isinstance(other, ast.Expr) and _called(other) == LOCKS[name] and isinstance(other.value, ast.Call):
                if [ast.unparse(a) for a in other.value.args] == arguments:
                    edit |= source.blank(other)
        if len(edit) > len(source.span(node)):
            yield f"without {name}({', '.join(arguments)})", edit
    for node in body:
        if isinstance(node, ast.Assign) and _CALLS_MAP_LOCK.search(ast.unparse(node)):
            yield "without the page-table lock", _without_ptl(source, node, function)


_CALLS_MAP_LOCK = re.compile(r"^(\w+), (\w+) = pte_offset_map_lock\(")
_NOLOCK = "from mm.pgtable_generic import pte_offset_map_rw_nolock"


# The table is found without its lock; a missing import goes behind the file's docstring, where it moves no line.
def _without_ptl(source: _Source, node: ast.Assign, function: ast.FunctionDef) -> dict[int, str]:
    text = _CALLS_MAP_LOCK.sub(r"\1, _mutant, \2 = pte_offset_map_rw_nolock(", ast.unparse(node))
    edit = source.put(node, text)
    for other in ast.walk(function):
        if isinstance(other, ast.Expr) and _called(other) == "pte_unmap_unlock":
            edit |= source.blank(other)
    if any(re.search(r"\bpte_offset_map_rw_nolock\b", line) for line in source.lines):
        return edit
    end = next(
        i for i, line in enumerate(source.lines[1:], 2) if line.endswith('"""') and (i > 2 or line.count('"""') == 2)
    )
    return edit | {end: f"{source.lines[end - 1]}; {_NOLOCK}"}


def drop_recheck(source: _Source, body: list[ast.stmt], function: ast.FunctionDef) -> Iterator[Edit]:
    """Patterns 5, 6 and 11: what a lock or another's flush may have changed is not looked at again."""
    for node in body:
        if isinstance(node, ast.If) and RECHECK.search(ast.unparse(node.test)):
            head = range(node.lineno, node.body[0].lineno)
            edit = dict.fromkeys(head, "") | {node.lineno: " " * node.col_offset + "if False:"}
            if not source.lines[node.lineno - 1].lstrip().startswith("elif"):
                yield f"never: if {ast.unparse(node.test)}", edit


def reset_after_flush(source: _Source, body: list[ast.stmt], function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 7: a flag is reset after the flush that it asked for."""
    for i, a, j, b in _pairs(body):
        if isinstance(a, ast.Assign) and isinstance(a.value, ast.Constant) and FLUSH.match(_called(b)):
            yield f"{ast.unparse(a)} after {_called(b)}", _move(source, body, i, j)


def less_scope(source: _Source, body: list[ast.stmt], function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 8: the flush does not know all that it is about."""
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is True:
            target = node.targets[0]
            name = (
                target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""
            )
            if SCOPE.match(name):
                yield f"without {ast.unparse(node)}", source.blank(node)


def free_before_flush(source: _Source, body: list[ast.stmt], function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 9: pages or tables are freed before the flush."""
    for i, a, j, b in _pairs(body):
        if FLUSH.match(_called(a)) and FREE.match(_called(b)):
            yield f"{_called(b)} before {_called(a)}", _move(source, body, i, j)


def count_before_clear(source: _Source, body: list[ast.stmt], function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 10: references are counted before access is taken away."""
    for i, a, j, b in _pairs(body):
        counts = re.search(r"ref_count|maybe_dma_pinned|_mapcount", ast.unparse(b)) and isinstance(b, ast.Assign)
        if counts and (_clears(a) or FLUSH.match(_called(a))):
            yield f"{ast.unparse(b)} before the entry is emptied", _move(source, body, i, j)


def drop_flush(source: _Source, body: list[ast.stmt], function: ast.FunctionDef) -> Iterator[Edit]:
    """Patterns 1 and 8 at their simplest: the flush is left out."""
    for node in body:
        if FLUSH.match(_called(node)):
            yield f"without {ast.unparse(node)}", source.blank(node)


def drop_mark(source: _Source, body: list[ast.stmt], function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 12: a state that others rely on is not noted, or not waited for."""
    for node in body:
        if MARK.match(_called(node)):
            yield f"without {ast.unparse(node)}", source.blank(node)


Operator = Callable[[_Source, list[ast.stmt], ast.FunctionDef], Iterator[Edit]]
OPERATORS: dict[str, Operator] = {
    "unlock-before-flush": unlock_before_flush,
    "drop-before-flush": drop_before_flush,
    "split-atomic": split_atomic,
    "drop-lock": drop_lock,
    "drop-recheck": drop_recheck,
    "reset-after-flush": reset_after_flush,
    "less-scope": less_scope,
    "free-before-flush": free_before_flush,
    "count-before-clear": count_before_clear,
    "drop-flush": drop_flush,
    "drop-mark": drop_mark,
}
"""Every operator by its name."""


def _bodies(function: ast.FunctionDef) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(function):
        for name in ("body", "orelse"):
            body = getattr(node, name, None)
            if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                yield body


def mutants(path: str, text: str, names: list[str]) -> Iterator[Mutant]:
    """The mutants of one file of the model, by the operators named; their ids do not depend on line numbers."""
    source = _Source(text)
    for function in ast.parse(text).body:
        if not isinstance(function, ast.FunctionDef):
            continue
        for name in names:
            count = 0
            for body in _bodies(function):
                for what, edit in OPERATORS[name](source, body, function):
                    count += 1
                    lines = [edit.get(i, line) for i, line in enumerate(source.lines, 1)]
                    id_ = f"{path}:{function.name}:{name}:{count}"
                    changed = tuple(sorted(i for i in edit if source.lines[i - 1].strip()))
                    yield Mutant(id_, name, path, function.name, changed, "\n".join(lines) + "\n", what)
