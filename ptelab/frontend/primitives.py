# SPDX-License-Identifier: GPL-2.0-only
"""The words of the language that are written as calls: atomics, locks, choices, pools."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Literal, get_args

from ptelab import ir
from ptelab.frontend import expressions, fold
from ptelab.frontend.cfg import Label
from ptelab.frontend.declarations import StructDecl
from ptelab.frontend.expressions import PRIMITIVES, PlaceRef
from ptelab.frontend.frame import Dest, Frame
from ptelab.frontend.types import BOOL, NOTHING, Bool, Int, LockType, Ptr, Ty, Value, accepts, describe, scalars

NO_VALUE = Value(NOTHING, ())
_Args = list[ast.expr]
_Body = Callable[[Frame, ast.Call, _Args, "Dest | None"], Value]
_HELD: dict[str, Literal["held", "read", "write"]] = {
    "lockdep_assert_held": "held", "lockdep_assert_held_read": "read", "lockdep_assert_held_write": "write",
}  # fmt: skip


def _primitive(*names: str, args: int) -> Callable[[_Body], _Body]:
    """Make a function the meaning of words that take so many arguments, by position."""

    def install(body: _Body) -> _Body:
        def handler(f: Frame, node: ast.Call, into: Dest | None) -> Value:
            if node.keywords:
                raise f.refuse(node, f"an argument with a name for {_word(node)}", "the arguments by position")
            if len(node.args) != args:
                raise f.refuse(
                    node, f"{_word(node)} with {len(node.args)} arguments", f"{args}, as docs/dialect.md shows"
                )
            return body(f, node, node.args, into)

        PRIMITIVES.update(dict.fromkeys(names, handler))
        return body

    return install


def _word(node: ast.Call) -> str:
    assert isinstance(node.func, ast.Name)
    return node.func.id


# ---------------------------------------------------------------------------------------- plain accesses


@_primitive("READ_ONCE", "atomic_read", "test_bit", args=1)
def _read(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    found = expressions.place(f, args[0], _word(node))
    if _word(node) == "atomic_read":
        _check(f, node, found, Int)
    elif _word(node) == "test_bit":
        _check(f, node, found, Bool)
    return expressions.load(f, node, found, into)


@_primitive("WRITE_ONCE", "atomic_set", args=2)
def _write(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    found = expressions.place(f, args[0], _word(node))
    if _word(node) == "atomic_set":
        _check(f, node, found, Int)
    new = expressions.value(f, args[1])
    expressions.store(f, node, found, new)
    return NO_VALUE


# ----------------------------------------------------------------------------------------------- atomics


def _check(f: Frame, node: ast.Call, found: PlaceRef, kind: type[Int] | type[Bool]) -> None:
    if not isinstance(found.type, kind):
        wanted = "an integer member" if kind is Int else "a bool member"
        raise f.refuse(node, f"{_word(node)} of {describe(found.type)}", wanted)


def _atomic(
    f: Frame, node: ast.Call, found: PlaceRef, op: Literal["xchg", "cmpxchg", "add", "or", "andnot"],
    args: tuple[ir.Expr, ...], want: bool, into: Dest | None = None,
) -> Value:  # fmt: skip
    """Emit a read-modify-write; the value is the old one, if that is wanted."""
    if isinstance(found.type, LockType):
        raise f.refuse(node, f"{_word(node)} of a lock", "spin_lock(x.lock) and the like")
    f.check_access(node, found.struct, found.member, write=True)
    dsts = f.take(node, found.type, into) if want and f.discarded is not node else ()
    f.emit(node, ir.Atomic(f.file.at(node), op, dsts, found.place, args))
    return Value(found.type, tuple(ir.Var(dst) for dst in dsts)) if dsts else NO_VALUE


def _new_value(f: Frame, node: ast.expr, found: PlaceRef) -> tuple[ir.Expr, ...]:
    if isinstance(found.type, LockType):
        raise f.refuse(node, "a value for a lock", "spin_lock(x.lock) and the like")
    given = expressions.value_of(f, node, found.type, f"{found.struct.name}.{found.member.name}")
    return expressions.fitting(found.type, given)


@_primitive("xchg", args=2)
def _xchg(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    found = expressions.place(f, args[0], "xchg")
    return _atomic(f, node, found, "xchg", _new_value(f, args[1], found), True, into)


@_primitive("cmpxchg", "try_cmpxchg", args=3)
def _cmpxchg(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    found = expressions.place(f, args[0], _word(node))
    old, new = _new_value(f, args[1], found), _new_value(f, args[2], found)
    if _word(node) == "cmpxchg":
        return _atomic(f, node, found, "cmpxchg", (*old, *new), True, into)
    was = _atomic(f, node, found, "cmpxchg", (*old, *new), True)
    return Value(BOOL, (fold.equal(was.parts, old),)) if was.parts else NO_VALUE


@_primitive("set_bit", "clear_bit", "test_and_set_bit", "test_and_clear_bit", args=1)
def _bit(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    word = _word(node)
    found = expressions.place(f, args[0], word)
    _check(f, node, found, Bool)
    new = fold.ONE if word in ("set_bit", "test_and_set_bit") else fold.ZERO
    return _atomic(f, node, found, "xchg", (new,), word.startswith("test"), into)


@_primitive("atomic_inc", "atomic_dec", "atomic_inc_return", "atomic_dec_return", "atomic_dec_and_test", args=1)
def _count(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    word = _word(node)
    found = expressions.place(f, args[0], word)
    _check(f, node, found, Int)
    by = ir.Const(1 if word.startswith("atomic_inc") else -1)
    return _added(f, node, found, by)


@_primitive("atomic_add", "atomic_sub", "atomic_add_return", "atomic_sub_return", args=2)
def _add(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    word = _word(node)
    by = expressions.integer(f, args[0]).expr
    found = expressions.place(f, args[1], word)
    _check(f, node, found, Int)
    return _added(f, node, found, fold.binary("-", fold.ZERO, by) if word.startswith("atomic_sub") else by)


def _added(f: Frame, node: ast.Call, found: PlaceRef, by: ir.Expr) -> Value:
    word = _word(node)
    want = word.endswith(("_return", "_test"))
    was = _atomic(f, node, found, "add", (by,), want)
    if not was.parts:
        return NO_VALUE
    if word.endswith("_test"):
        return Value(BOOL, (fold.binary("==", was.expr, fold.ONE),))
    if isinstance(by, ir.Const) and by.value < 0:
        return Value(found.type, (fold.binary("-", was.expr, ir.Const(-by.value)),))
    return Value(found.type, (fold.binary("+", was.expr, by),))


@_primitive("atomic_or", "atomic_andnot", "atomic_fetch_or", "atomic_fetch_andnot", args=2)
def _mask(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    word = _word(node)
    mask = expressions.integer(f, args[0])
    found = expressions.place(f, args[1], word)
    _check(f, node, found, Int)
    return _atomic(f, node, found, "or" if word.endswith("_or") else "andnot", mask.parts, "fetch" in word, into)


# ------------------------------------------------------------------------------------------------- locks


def _lock_place(f: Frame, node: ast.Call, arg: ast.expr, kinds: tuple[str, ...]) -> PlaceRef:
    found = expressions.place(f, arg, _word(node))
    if not isinstance(found.type, LockType) or found.type.kind not in kinds:
        wanted = " or ".join({"spinlock": "spinlock_t", "rwsem": "rw_semaphore"}[kind] for kind in kinds)
        raise f.refuse(
            node, f"{_word(node)} of {describe(found.type)} that is no {wanted}", f"a member of type {wanted}"
        )
    return found


@_primitive(*get_args(ir.LockOp), args=1)
def _lock(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    word = _word(node)
    f.forbid_in_ghost(node, word)
    found = _lock_place(f, node, args[0], ("spinlock",) if word.startswith("spin") else ("rwsem",))
    tries = word.endswith("trylock")
    dst = f.take(node, BOOL, into)[0] if tries else None
    f.emit(node, ir.Lock(f.file.at(node), word, dst, found.place))  # type: ignore[arg-type]  # one of LockOp
    return Value(BOOL, (ir.Var(dst),)) if dst is not None else NO_VALUE


@_primitive(*_HELD, args=1)
def _assert_held(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    mode = _HELD[_word(node)]
    found = _lock_place(f, node, args[0], ("spinlock", "rwsem") if mode == "held" else ("rwsem",))
    f.emit(node, ir.AssertHeld(f.file.at(node), found.place, mode))
    return NO_VALUE


# -------------------------------------------------------------------------------- waiting and choosing


@_primitive("wait_until", args=1)
def _wait(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    f.forbid_in_ghost(node, "wait_until")
    before, f.eager = f.cur, True
    inside = Label()
    f.resume(inside)  # collects the loads; it never becomes a block
    cond = expressions.truth(f, args[0])
    f.resume(before)
    f.eager = False
    loads = [stmt for stmt in inside.stmts if isinstance(stmt, ir.Load)]
    if len(loads) != len(inside.stmts):
        raise f.refuse(node, "a condition of wait_until that does more than read", "the rest before it")
    shared = [load for load in loads if _is_shared(f, load.place)]
    if len(shared) != 1:
        raise f.refuse(
            node, f"a condition of wait_until with {len(shared)} shared reads", "a condition with exactly one"
        )
    pre = tuple(load for load in loads if load is not shared[0])
    for load in pre[loads.index(shared[0]) :]:
        reads = set(fold.variables(load.place.handle))
        reads.update(fold.variables(load.place.index) if load.place.index is not None else ())
        if reads & set(shared[0].dsts):
            raise f.refuse(node, "a condition of wait_until that reads on from what it reads", "a loop")
    f.emit(node, ir.Wait(f.file.at(node), pre, shared[0].dsts, shared[0].place, cond))
    return NO_VALUE


def _is_shared(f: Frame, place: ir.Place) -> bool:
    struct = f.program.structs[place.struct]
    return struct.kind == "shared" and not f.program.fields(struct)[place.field].ir.ghost


@_primitive("choose", args=1)
def _choose(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    f.forbid_in_ghost(node, "choose")
    count = expressions.integer(f, args[0])
    bound: int | str | None = count.type.bound if isinstance(count.type, Int) else 1
    if isinstance(count.expr, ir.Const):
        bound = max(count.expr.value - 1, 0)
    if bound is None and into is not None and isinstance(into.type, Int):
        bound = into.type.bound
    dst = f.take(node, Int(bound), into)[0]
    f.emit(node, ir.Choose(f.file.at(node), dst, count.expr))
    return Value(Int(bound), (ir.Var(dst),))


# ------------------------------------------------------------------------------------------------- pools


def struct_named(f: Frame, node: ast.expr, word: str) -> StructDecl:
    """The struct that is the argument of a word."""
    decl = f.program.lookup(f.file, node.id) if isinstance(node, ast.Name) and node.id not in f.env else None
    if not isinstance(decl, StructDecl):
        raise f.refuse(node, f"{word} of what is no struct", f"{word}(Struct)")
    return decl


def reachable_pool(f: Frame, node: ast.Call, struct: StructDecl) -> None:
    """Refuse to reach all elements of what is private."""
    word = _word(node)
    if struct.kind == "cpu" and not (f.ghost or f.is_setup):
        raise f.refuse(node, f"{word} of what belongs to each CPU", f"this_cpu({struct.name})")
    if struct.kind == "stack":
        raise f.refuse(node, f"{word} of stack objects", f"new({struct.name})")
    if struct.kind == "ghost" and not (f.ghost or f.is_setup):
        raise f.refuse(node, f"{word} of a ghost in code of the system", "a @ghost function")


@_primitive("at", "per_cpu", args=2)
def _at(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    struct = struct_named(f, args[0], _word(node))
    if _word(node) == "per_cpu" and (struct.kind != "cpu" or not (f.ghost or f.is_setup)):
        raise f.refuse(node, "per_cpu outside setup.py and ghost functions", f"this_cpu({struct.name}), or at(…)")
    reachable_pool(f, node, struct)
    index = expressions.integer(f, args[1]).expr
    # Not folded with the index_of of another struct's handle, so that each handle is seen to be of its own struct.
    handle = fold.binary("+", index, fold.ONE) if isinstance(index, ir.Const) else ir.Bin("+", index, fold.ONE)
    return Value(Ptr(struct), (handle,))


@_primitive("index_of", args=1)
def _index_of(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    handle = expressions.value(f, args[0])
    if not isinstance(handle.type, Ptr):
        raise f.refuse(node, f"index_of {describe(handle.type)}", "index_of(handle)")
    bound = f"nr_{handle.type.struct.name}"
    return Value(Int(bound), (fold.binary("-", handle.expr, fold.ONE),))


@_primitive("nr", args=1)
def _nr(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    name = f"nr_{struct_named(f, args[0], 'nr').name}"
    return Value(Int(name), (ir.Param(name),))


@_primitive("new", args=1)
def _new(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    f.forbid_in_ghost(node, "new")
    struct = struct_named(f, args[0], "new")
    if struct.kind != "stack":
        raise f.refuse(node, f"new({struct.name}), which is no stack object", "at(…), or @onstack above the class")
    dst = f.take(node, Ptr(struct), into)[0]
    f.emit(node, ir.New(f.file.at(node), dst, struct.name))
    return Value(Ptr(struct), (ir.Var(dst),))


@_primitive("this_cpu", "this_thread", args=1)
def _own(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    word = _word(node)
    struct = struct_named(f, args[0], word)
    what: Literal["cpu", "thread"] = "cpu" if word == "this_cpu" else "thread"
    if what == "thread" or struct.kind != "cpu":
        reachable_pool(f, node, struct)
    return Value(Ptr(struct), (ir.Bin("+", ir.Self(what), fold.ONE),))


@_primitive("cpu_id", "thread_id", args=0)
def _self(f: Frame, node: ast.Call, args: _Args, into: Dest | None) -> Value:
    if _word(node) == "cpu_id":
        return Value(Int("NR_CPUS"), (ir.Self("cpu"),))
    return Value(Int("NR_THREADS"), (ir.Self("thread"),))


# ------------------------------------------------------------------------------------- flags and situations


def literal_string(f: Frame, node: ast.Call) -> str:
    """The name that flag(…) or reach(…) is given."""
    word = _word(node)
    if f.file.room == "linux":
        raise f.refuse(node, f"{word}(…) in kernel code", "a hook in invariants.py")
    first = node.args[0] if len(node.args) == 1 else None
    if not (isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.isidentifier()):
        raise f.refuse(node, f"{word}(…) without a name in quotes", f'{word}("name")')
    return first.value


def flag(f: Frame, node: ast.Call, into: Dest | None) -> Value:
    """flag("name", label=value, …): the run ends, an invariant does not hold."""
    name = literal_string(f, node)
    shown: list[tuple[str, ir.Type, ir.Expr]] = []
    for keyword in node.keywords:
        if keyword.arg is None:
            raise f.refuse(node, "** in flag(…)", "label=value")
        given = expressions.value(f, keyword.value)
        shown += [(f"{keyword.arg}.{s}" if s else keyword.arg, t, e) for s, t, e in _labelled(f, keyword.value, given)]
    f.emit(node, ir.Flag(f.file.at(node), name, tuple(shown)))
    return NO_VALUE


def _labelled(f: Frame, node: ast.expr, given: Value) -> list[tuple[str, ir.Type, ir.Expr]]:
    ty: Ty = given.type
    if isinstance(ty, Int) and ty.bound is None:
        ty = Int(2**16 - 1)  # shown only, never kept
    if not accepts(ty, ty):
        raise f.refuse(node, f"{describe(ty)} in a report", "a value")
    return [(s, t, e) for (s, t), e in zip(scalars(ty), given.parts, strict=True)]


def reach(f: Frame, node: ast.Call, into: Dest | None) -> Value:
    """reach("name"): the situation is noted."""
    name = literal_string(f, node)
    if node.keywords:
        raise f.refuse(node, "values in reach(…)", "the name alone")
    f.emit(node, ir.Reach(f.file.at(node), name))
    return NO_VALUE


PRIMITIVES["flag"] = flag
PRIMITIVES["reach"] = reach
