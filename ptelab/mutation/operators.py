# SPDX-License-Identifier: GPL-2.0-only
"""What is changed: operators after twelve patterns of bugs, applied wherever their shape stands in the mirrored kernel.

An operator looks at a list of statements and yields other texts for some of their lines.  Lines keep their numbers, so
that what a test covers can be compared with what a mutant changes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from ptelab.mutation.shapes import (
    ATOMIC,
    BITS,
    DROP,
    FLUSH,
    FREE,
    LOCKLESS,
    LOCKS,
    MARK,
    RECHECK,
    SCOPE,
    UNLOCK,
    Lines,
    Mutant,
    Source,
    acts,
    arguments,
    call_name,
    called,
    calls,
    clears,
    leaves,
    replaced,
    simple,
)

Edit = tuple[str, Lines]
"""What is done, in words, and the new texts of lines."""
Body = list[ast.stmt]


def _pairs(body: Body) -> Iterator[tuple[int, ast.stmt, int, ast.stmt]]:
    """Two statements of a list, the first simple and the second at most three after it."""
    for i, a in enumerate(body):
        for j in range(i + 1, min(i + 4, len(body))):
            if simple(a):
                yield i, a, j, body[j]
            if not simple(body[j]):
                break


# ------------------------------------------------------------------------------- patterns 1 and 2: before the flush


def drop_flush(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Patterns 1 and 8 at their simplest: the flush is left out."""
    for node in body:
        if FLUSH.match(called(node)):
            yield f"without {ast.unparse(node)}", source.blank(node)
        if not simple(node):
            continue
        for call in calls(node):
            args = arguments(call)
            if call_name(call) == "ptep_clear_flush":
                text = replaced(node, call, f"ptep_get_and_clear({args[0]}.vm_mm, {', '.join(args[1:])})")
                edit = source.put(node, text) | source.imports("asm.pgtable", "ptep_get_and_clear")
                yield f"without the flush of {ast.unparse(call)}", edit


def unlock_before_flush(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 1: the lock is dropped before the flush."""
    for i, a, j, b in _pairs(body):
        if FLUSH.match(called(a)) and UNLOCK.match(called(b)):
            yield f"{called(b)} before {called(a)}", source.swap(body, i, j)
    for i, (a, b) in enumerate(pairwise(body)):
        inside = [called(s) for s in a.body if FLUSH.match(called(s))] if isinstance(a, ast.If) else []
        if inside and UNLOCK.match(called(b)):
            yield f"{called(b)} before {inside[0]}", source.swap(body, i, i + 1)


def drop_before_flush(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 2: the rmap or the reference goes before the flush."""
    for i, a, j, b in _pairs(body):
        inner = b.body[0] if isinstance(b, ast.If) and len(b.body) == 1 and not b.orelse else b
        if (FLUSH.match(called(a)) or clears(a)) and DROP.match(called(inner)):
            yield f"{called(inner)} before the flush", source.swap(body, i, j)


# ------------------------------------------------------------------------------------- pattern 3: atomic accesses


def split_atomic(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 3: a read and a write instead of a read-modify-write."""
    for node in body:
        header = node.test if isinstance(node, ast.If) else None
        if not simple(node) and not isinstance(node, ast.Return) and header is None:
            continue
        for call in calls(header or node):
            if not call.args:
                continue
            place, name, args = arguments(call)[0], call_name(call), arguments(call)
            before, value = _split(name, args)
            if not before:
                continue
            what = f"{name} of {place} as a read and a write"
            if isinstance(node, ast.If):
                test = ast.unparse(
                    _Replace(ast.dump(call), value).visit(ast.parse(ast.unparse(node.test), mode="eval"))
                )
                start = source.lines[node.lineno - 1].lstrip()
                if start.startswith("if ") and node.lineno == node.body[0].lineno - 1:
                    line = source.lines[node.lineno - 2] if body.index(node) and simple(_previous(body, node)) else ""
                    if line.strip() and _previous(body, node).end_lineno == node.lineno - 1:
                        yield what, {node.lineno - 1: f"{line}; {'; '.join(before)}"} | source.head(node, test)
            elif called(node) == name:
                yield what, source.put(node, *before)
            else:
                yield what, source.put(node, *before, replaced(node, call, value))


class _Replace(ast.NodeTransformer):
    """Puts another expression in the place of those that look like one."""

    def __init__(self, wanted: str, new: str) -> None:
        self.wanted, self.new = wanted, new

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and ast.dump(node) == self.wanted:
            return ast.parse(self.new, mode="eval").body
        return self.generic_visit(node)


def _with(test: ast.expr, call: ast.Call, text: str) -> str:
    """A condition with other text for a call in it."""
    return ast.unparse(_Replace(ast.dump(call), text).visit(ast.parse(ast.unparse(test), mode="eval")))


def _previous(body: Body, node: ast.stmt) -> ast.stmt:
    return body[body.index(node) - 1]


# The statements that stand for an atomic access, and its value after them.
def _split(name: str, args: list[str]) -> tuple[list[str], str]:
    place = args[0]
    match name:
        case "xchg":
            return [f"was = {place}", f"{place} = {args[1]}"], "was"
        case "try_cmpxchg":
            return [f"hit = {place} == {args[1]}", f"{place} = {args[2]} if hit else {place}"], "hit"
        case "cmpxchg":
            return [f"was = {place}", f"{place} = {args[2]} if was == {args[1]} else was"], "was"
        case "test_and_set_bit" | "test_and_clear_bit":
            return [f"was = {place}", f"{place} = {name == 'test_and_set_bit'}"], "was"
        case "atomic_inc" | "atomic_dec":
            return [f"{place} = {place} {'+' if name == 'atomic_inc' else '-'} 1"], "0"
        case "atomic_add" | "atomic_sub":
            return [f"{args[1]} = {args[1]} {'+' if name == 'atomic_add' else '-'} {place}"], "0"
        case "atomic_inc_return":
            return [f"{place} = {place} + 1"], place
        case "atomic_dec_and_test":
            return [f"{place} = {place} - 1"], f"{place} == 0"
        case "atomic_or":
            return [f"{args[1]} = {args[1]} | {place}"], "0"
        case "atomic_andnot":
            return [f"{args[1]} = {args[1]} & ~({place})"], "0"
    return [], ""


def stale_value(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 3: what was read before is used, not what the read-modify-write returned."""
    for node in body:
        match node:
            case ast.Assign([ast.Name(name)], ast.Call() as call) if ATOMIC.match(call_name(call)):
                known = {a.arg for a in function.args.args}
                known |= {
                    t.id for n in ast.walk(function) if isinstance(n, ast.Assign) and n.lineno < node.lineno
                    for t in n.targets if isinstance(t, ast.Name)
                }  # fmt: skip
                if name in known:
                    yield f"{name} as it was before {call_name(call)}", source.put(node, ast.unparse(call))


# ------------------------------------------------------------------------------- pattern 4: empty instead of invalid


def clear_then_set(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 4: an entry that is being changed looks empty for a while."""
    for node in body:
        for call in calls(node) if simple(node) else ():
            if call_name(call) == "pmdp_invalidate":
                text = replaced(node, call, f"pmdp_huge_clear_flush({', '.join(arguments(call))})")
                edit = source.put(node, text) | source.imports("mm.pgtable_generic", "pmdp_huge_clear_flush")
                yield "pmdp_huge_clear_flush instead of pmdp_invalidate", edit


def set_before_flush(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 4, the other way round: the new entry is there before the old one is flushed."""
    for _, a, _, b in _pairs(body):
        if called(a) == "ptep_clear_flush" and called(b) == "set_pte_at" and isinstance(a, ast.Expr):
            vma, addr, _ = arguments(a.value)
            edit = source.blank(a) | source.put(b, source.text(b), f"flush_tlb_page({vma}, {addr})")
            yield "set_pte_at, then the flush", edit | source.imports("asm.tlbflush", "flush_tlb_page")


# --------------------------------------------------------------------------- patterns 5, 6 and 11: looking and locking


def drop_recheck(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Patterns 5, 6 and 11: what a lock or another's flush may have changed is not looked at again."""
    for node in body:
        if not isinstance(node, ast.If):
            continue
        if RECHECK.search(ast.unparse(node.test)) and not source.lines[node.lineno - 1].lstrip().startswith("elif"):
            yield f"never: if {ast.unparse(node.test)}", source.head(node, "False")
        if isinstance(node.test, ast.BoolOp):
            word = " and " if isinstance(node.test.op, ast.And) else " or "
            for part in node.test.values:
                if RECHECK.search(ast.unparse(part)):
                    others = [f"({ast.unparse(v)})" for v in node.test.values if v is not part]
                    yield f"without {ast.unparse(part)}", source.head(node, word.join(others))


def read_again(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 5: what was read once without a lock is read again at each use."""
    for node in body:
        match node:
            case ast.Assign([ast.Name(name)], ast.Call() as call) if LOCKLESS.match(call_name(call)):
                edit: Lines = {}
                for number in range((node.end_lineno or 0) + 1, (function.end_lineno or 0) + 1):
                    line = source.lines[number - 1]
                    if re.match(rf"\s*{name}\s*[:=]", line):
                        break
                    text = re.sub(rf"(?<![.\w]){name}\b(?!\s*=[^=])", ast.unparse(call), line)
                    if text != line:
                        edit[number] = text
                if edit:
                    yield f"{ast.unparse(call)} again for each use of {name}", edit


def drop_lock(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Patterns 5 and 11: a lock is not taken (and its unlocks go with it)."""
    for node in body:
        name = called(node)
        if name in LOCKS and isinstance(node, ast.Expr):
            args = arguments(node.value)
            within: ast.AST = function
            unlocks = _unlocks(source, within, LOCKS[name], args)
            if not unlocks and name.startswith("down_"):
                unlocks = _unlocks(source, source.tree, LOCKS[name], args)
            if unlocks:
                yield f"without {name}({', '.join(args)})", source.blank(node) | unlocks
        if isinstance(node, ast.Assign) and _CALLS_MAP_LOCK.search(ast.unparse(node)):
            yield "without the page-table lock", _without_ptl(source, node, function)
        if isinstance(node, ast.Assign) and call_name(node.value) == "pmd_lock":
            mm, lock = arguments(node.value)[0], ast.unparse(node.targets[0])
            unlocks = _unlocks(source, function, "spin_unlock", [f"{lock}.page_table_lock"])
            if unlocks:
                yield "without the lock of the upper entries", source.put(node, f"{lock} = {mm}") | unlocks
        if isinstance(node, ast.If):
            for call in calls(node.test):
                if "trylock" in call_name(call) and call_name(call) in LOCKS:
                    test = _with(node.test, call, "True")
                    unlocks = _unlocks(source, function, LOCKS[call_name(call)], arguments(call))
                    yield f"without {ast.unparse(call)}", source.head(node, test) | unlocks


def _unlocks(source: Source, within: ast.AST, name: str, args: list[str]) -> Lines:
    edit: Lines = {}
    for other in ast.walk(within):
        if isinstance(other, ast.Expr) and called(other) == name and arguments(other.value) == args:
            edit |= source.blank(other)
    return edit


_CALLS_MAP_LOCK = re.compile(r"^(\w+), (\w+) = pte_offset_map_lock\(")


def _without_ptl(source: Source, node: ast.Assign, function: ast.FunctionDef) -> Lines:
    """The table is found without its lock."""
    edit = source.put(node, _CALLS_MAP_LOCK.sub(r"\1, _mutant, \2 = pte_offset_map_rw_nolock(", ast.unparse(node)))
    for other in ast.walk(function):
        if isinstance(other, ast.Expr) and called(other) == "pte_unmap_unlock":
            edit |= source.blank(other)
    return edit | source.imports("mm.pgtable_generic", "pte_offset_map_rw_nolock")


def lock_late(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 11: a decision is made before the lock that it needs."""
    for i, (a, b) in enumerate(pairwise(body)):
        name = called(a)
        if name not in LOCKS and not (isinstance(a, ast.Assign) and call_name(a.value) == "pmd_lock"):
            continue
        what = ast.unparse(a.value) if isinstance(a, ast.Expr | ast.Assign) else ""
        if i + 2 < len(body) and UNLOCK.match(called(body[i + 2])):
            continue  # the lock would protect nothing: see drop_lock
        if simple(b) and acts(b) and not UNLOCK.match(called(b)):
            yield f"{what} after {ast.unparse(b)}", source.swap(body, i, i + 1)
        elif isinstance(b, ast.If) and acts(b.test):  # type: ignore[arg-type]
            test = ast.unparse(b.test)
            yield (
                f"{what} after the test of {test}",
                source.put(a, f"early = {test}", source.text(a)) | source.head(b, "early"),
            )


def unlock_early(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 11: the last thing that a lock protects comes after it is dropped."""
    for i, (a, b) in enumerate(pairwise(body)):
        inside = [a] if simple(a) else a.body if isinstance(a, ast.If) else []
        if not UNLOCK.match(called(b)) or not inside or leaves(a) or any(FLUSH.match(called(s)) for s in inside):
            continue
        if i and called(body[i - 1]) in LOCKS:
            continue  # the lock would protect nothing: see drop_lock
        if acts(a) and called(a) not in LOCKS and not UNLOCK.match(called(a)) and "_lock" not in ast.unparse(a):
            words = ast.unparse(a) if simple(a) else f"if {ast.unparse(a.test)}"  # type: ignore[attr-defined]
            yield f"{called(b)} before {words}", source.swap(body, i, i + 1)


# ------------------------------------------------------------------------------- patterns 7 to 10: what a flush knows


def reset_after_flush(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 7: a flag or a count is reset on the other side of the flush that it asked for."""
    for i, a, j, b in _pairs(body):
        if isinstance(a, ast.Assign) and isinstance(a.value, ast.Constant) and FLUSH.match(called(b)):
            yield f"{ast.unparse(a)} after {called(b)}", source.swap(body, i, j)
        resets = re.search(r"reset|cmpxchg|dec_tlb_flush_pending", called(b)) or "tlb_ubc" in ast.unparse(b)
        if FLUSH.match(called(a)) and simple(b) and resets:
            yield f"{ast.unparse(b)} before {called(a)}", source.swap(body, i, j)


_WIDE = ("flush_tlb_mm_range", "flush_tlb_multi")
"""Flushes whose flag means more; elsewhere it means this CPU only, or the last level only."""


def less_scope(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 8: the flush does not know all that it is about."""
    for node in body:
        match node:
            case ast.Assign([target], ast.Constant(True)):
                name = target.attr if isinstance(target, ast.Attribute) else ast.unparse(target)
                if SCOPE.match(name):
                    yield f"without {ast.unparse(node)}", source.blank(node)
            case ast.Assign([ast.Attribute(attr="start" | "end")], value) if not isinstance(value, ast.Constant):
                if function.name.startswith("__tlb"):
                    yield f"without {ast.unparse(node)}", source.blank(node)
            case ast.Expr(ast.Call() as call) if FLUSH.match(call_name(call)):
                args = arguments(call)
                for n, arg in enumerate(args):
                    less = str(call_name(call) not in _WIDE)
                    if arg in ("True", "False") and arg != less:
                        changed = [*args[:n], less, *args[n + 1 :]]
                        text = f"{call_name(call)}({', '.join(changed)})"
                        yield f"{text} instead of {ast.unparse(call)}", source.put(node, text)
                if len(args) >= 3 and re.search("end", args[2]):
                    text = f"{call_name(call)}({', '.join([*args[:2], f'{args[1]} + 1', *args[3:]])})"
                    yield f"{text} instead of {ast.unparse(call)}", source.put(node, text)


def free_before_flush(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 9: pages or tables are freed before the flush, or while others may still walk them."""
    for i, a, j, b in _pairs(body):
        if FLUSH.match(called(a)) and FREE.match(called(b)):
            yield f"{called(b)} before {called(a)}", source.swap(body, i, j)


def count_before_clear(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 10: references are counted before access is taken away."""
    for i, a, j, b in _pairs(body):
        if not (clears(a) or FLUSH.match(called(a)) or ATOMIC.match(call_name(getattr(a, "value", a)))):  # type: ignore[arg-type]
            continue
        counted = re.compile(r"ref_count|maybe_dma_pinned|mapcount|folio_mapped|folio_test_dirty")
        if isinstance(b, ast.Assign) and counted.search(ast.unparse(b)):
            yield f"{ast.unparse(b)} before the entry is emptied", source.swap(body, i, j)
        if isinstance(b, ast.If) and counted.search(ast.unparse(b.test)):
            test = ast.unparse(b.test)
            edit = source.put(a, f"early = {test}", source.text(a)) | source.head(b, "early")
            yield f"{test} before the entry is emptied", edit


# --------------------------------------------------------------------------------------- pattern 12: what is noted


def drop_mark(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 12: a state that others rely on is not noted, or not waited for."""
    for node in body:
        if MARK.match(called(node)):
            yield f"without {ast.unparse(node)}", source.blank(node)


def drop_bit(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 12: a bit of an entry is not set or not cleared."""
    for node in body:
        if not simple(node) and not isinstance(node, ast.Return):
            continue
        seen = set()
        for call in calls(node):
            text = ast.unparse(call)
            if BITS.match(call_name(call)) and call.args and text not in seen:
                seen.add(text)
                yield (
                    f"without {call_name(call)} in {ast.unparse(node)}",
                    source.put(node, replaced(node, call, arguments(call)[0])),
                )


def other_bit(source: Source, body: Body, function: ast.FunctionDef) -> Iterator[Edit]:
    """Pattern 12: one bit is taken for another."""
    for node in body:
        if not isinstance(node, ast.If) or source.lines[node.lineno - 1].lstrip().startswith("elif"):
            continue
        for call in calls(node.test):
            kind, _, bit = call_name(call).partition("_")
            if kind in ("pte", "pmd") and bit in ("dirty", "write"):
                other = f"{kind}_{'write' if bit == 'dirty' else 'dirty'}"
                text = f"{other}({', '.join(arguments(call))})"
                edit = source.head(node, _with(node.test, call, text))
                module = "asm.pgtable" if kind == "pte" else "linux.pgtable"
                yield (
                    f"{text} for {ast.unparse(call)}",
                    edit | source.imports(module, other),
                )


Operator = Callable[[Source, Body, ast.FunctionDef], Iterator[Edit]]
OPERATORS: dict[str, tuple[str, Operator]] = {
    "drop-flush": ("1, 8", drop_flush),
    "unlock-before-flush": ("1", unlock_before_flush),
    "drop-before-flush": ("2", drop_before_flush),
    "split-atomic": ("3", split_atomic),
    "stale-value": ("3", stale_value),
    "clear-then-set": ("4", clear_then_set),
    "set-before-flush": ("4", set_before_flush),
    "drop-recheck": ("5, 6, 11", drop_recheck),
    "read-again": ("5", read_again),
    "drop-lock": ("5, 11", drop_lock),
    "lock-late": ("11", lock_late),
    "unlock-early": ("11", unlock_early),
    "reset-after-flush": ("7", reset_after_flush),
    "less-scope": ("8", less_scope),
    "free-before-flush": ("9", free_before_flush),
    "count-before-clear": ("10", count_before_clear),
    "drop-mark": ("6, 12", drop_mark),
    "drop-bit": ("12", drop_bit),
    "other-bit": ("12", other_bit),
}
"""Every operator by its name, with the patterns of the catalogue of bugs that it copies."""


def _bodies(function: ast.FunctionDef) -> Iterator[Body]:
    for node in ast.walk(function):
        for name in ("body", "orelse"):
            body = getattr(node, name, None)
            if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                yield body


def mutants(path: str, text: str, names: list[str]) -> Iterator[Mutant]:
    """The mutants of one file of the model, by the operators named; their ids do not depend on line numbers."""
    source = Source(text)
    for function in source.tree.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        known = {text}
        for name in names:
            count = 0
            for body in _bodies(function):
                for what, edit in OPERATORS[name][1](source, body, function):
                    count += 1
                    lines = [edit.get(i, line) for i, line in enumerate(source.lines, 1)]
                    changed_text = "\n".join(lines) + "\n"
                    if changed_text in known:
                        continue  # another operator has made the same change
                    known.add(changed_text)
                    id_ = f"{path}:{function.name}:{name}:{count}"
                    inside = range(function.lineno, (function.end_lineno or 0) + 1)
                    changed = tuple(
                        i for i in sorted(edit)
                        if i in inside and source.lines[i - 1].strip() and edit[i] != source.lines[i - 1]
                    )  # fmt: skip
                    yield Mutant(id_, name, path, function.name, changed, changed_text, what)
