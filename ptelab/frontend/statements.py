# SPDX-License-Identifier: GPL-2.0-only
"""Statements: assignments, branches, loops and returns."""

from __future__ import annotations

import ast
from collections.abc import Callable

from ptelab import ir
from ptelab.frontend import expressions, fold
from ptelab.frontend.cfg import Label
from ptelab.frontend.declarations import Builtin, FunctionDecl, is_docstring
from ptelab.frontend.frame import Dest, Frame, Loop, variables
from ptelab.frontend.primitives import reachable_pool, struct_named
from ptelab.frontend.types import INT, Int, Nothing, Ptr, Tup, Ty, Value, accepts, describe, scalars

_REFUSED: dict[type[ast.stmt], tuple[str, str]] = {
    ast.FunctionDef: ("a function inside a function", "it at file level, with what it needs as parameters"),
    ast.AsyncFunctionDef: ("a function inside a function", "it at file level, with what it needs as parameters"),
    ast.ClassDef: ("a class inside a function", "it at file level"),
    ast.Try: ("try", "a result that tells what went wrong"),
    ast.Raise: ("raise", "assert, or a result that tells what went wrong"),
    ast.With: ("with", "the lock and the unlock"),
    ast.Global: ("global", "a member of a struct"),
    ast.Nonlocal: ("nonlocal", "a parameter and a result"),
    ast.Delete: ("del", "an assignment of None or 0"),
    ast.Match: ("match", "if and elif"),
    ast.Import: ("an import inside a function", "it at the top of the file"),
    ast.ImportFrom: ("an import inside a function", "it at the top of the file"),
}


def block(f: Frame, nodes: list[ast.stmt]) -> None:
    """Lower statements one after the other."""
    for node in nodes:
        lower = _LOWER.get(type(node))
        if lower is None:
            what, instead = _REFUSED.get(type(node), (f"“{type(node).__name__.lower()}”", "a statement of the dialect"))
            raise f.refuse(node, what, instead)
        with f.statement():
            lower(f, node)


# ------------------------------------------------------------------------------------------ assignments


def _assign(f: Frame, node: ast.stmt) -> None:
    assert isinstance(node, ast.Assign)
    if len(node.targets) != 1:
        raise f.refuse(node, "one assignment to several targets", "one assignment for each")
    target = node.targets[0]
    if isinstance(target, ast.Tuple):
        _assign_several(f, node, target)
    elif isinstance(target, ast.Name):
        _assign_local(f, node, target.id, node.value)
    else:
        new = expressions.value(f, node.value)
        _assign_place(f, target, new)


def _assign_place(f: Frame, target: ast.expr, new: Value) -> None:
    if not isinstance(target, ast.Attribute | ast.Subscript):
        raise f.refuse(target, f"an assignment to “{ast.unparse(target)}”", "a variable or a member of a struct")
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id in f.env:
        base = f.env[target.value.id]
        if not isinstance(base.type, Ptr):
            name = target.value.id
            raise f.refuse(
                target, f"an assignment to a member of “{name}”, which is a value",
                f"{name} = {name}._replace({target.attr}=…)",
            )  # fmt: skip
    expressions.store(f, target, expressions.place(f, target, "an assignment"), new)


def _assign_local(f: Frame, node: ast.stmt, name: str, value: ast.expr) -> None:
    _check_local(f, node, name)
    known = f.env.get(name)
    if name == "_":
        expressions.value(f, value)
        return
    new = expressions.value(f, value, Dest(name, known.type if known is not None else None))
    known = f.env.get(name)
    if known is None:
        if isinstance(new.type, Nothing):
            raise f.refuse(node, f"“{name}” has no type, as None may be any handle", f"“{name}: Struct | None = None”")
        known = f.declare(node, name, new.type)
    _set(f, node, name, known, new)


def _set(f: Frame, node: ast.stmt, name: str, target: Value, new: Value) -> None:
    """Assign to a local, part by part; parts that other new parts still need are saved first."""
    if not accepts(target.type, new.type):
        what = f"{describe(new.type)} for “{name}”, which is {describe(target.type)}"
        raise f.refuse(node, what, "a value of its type, or a second variable")
    kinds = (kind for _, kind in scalars(target.type))
    expressions.assign_parts(f, node, list(zip(variables(target), kinds, new.parts, strict=True)))


def _check_local(f: Frame, node: ast.stmt, name: str) -> None:
    if name in f.loop_variables:
        raise f.refuse(node, f"an assignment to the loop variable “{name}”", "a while loop, or a second variable")


def _assign_several(f: Frame, node: ast.Assign, target: ast.Tuple) -> None:
    call = node.value
    decl = None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id not in f.env:
        decl = f.program.lookup(f.file, call.func.id)
    if not isinstance(decl, FunctionDecl):
        raise f.refuse(node, "several assignments at once from what is no call", "one assignment for each")
    result = f.program.signature(decl).result
    items = result.items if isinstance(result, Tup) else (result,)
    if len(items) != len(target.elts):
        raise f.refuse(
            node, f"{len(target.elts)} targets for {len(items)} results of “{decl.name}”", "as many as results"
        )
    names: list[str] = []
    for element in target.elts:
        if not isinstance(element, ast.Name) or (element.id != "_" and element.id in names):
            raise f.refuse(element, "a target among several that is no variable of its own", "a variable")
        names.append(element.id)

    def targets() -> tuple[str, ...]:
        return tuple(dst for name, ty in zip(names, items, strict=True) for dst in _target(f, node, name, ty))

    assert isinstance(call, ast.Call)
    expressions.call(f, call, decl, targets=targets)


def _target(f: Frame, node: ast.stmt, name: str, ty: Ty) -> tuple[str, ...]:
    """The variables that one of several results goes to."""
    if name == "_":
        return f.temps(node, ty)
    _check_local(f, node, name)
    known = f.env.get(name) or f.declare(node, name, ty)
    if not accepts(known.type, ty):
        raise f.refuse(node, f"{describe(ty)} for “{name}”, which is {describe(known.type)}", "a second variable")
    return variables(known)


def _assign_annotated(f: Frame, node: ast.stmt) -> None:
    assert isinstance(node, ast.AnnAssign)
    if not isinstance(node.target, ast.Name):
        raise f.refuse(node, "a type for what is no variable", "the assignment alone")
    ty = f.program.type_of(f.file, node.annotation)
    name = node.target.id
    _check_local(f, node, name)
    if node.value is None:
        f.declare(node, name, ty)
        return
    if name not in f.env and any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node.value)):
        expressions.value(f, node.value)  # refuses to read what is not set yet
    known = f.declare(node, name, ty)
    _set(f, node, name, known, expressions.value(f, node.value, Dest(name, ty)))


def _assign_augmented(f: Frame, node: ast.stmt) -> None:
    assert isinstance(node, ast.AugAssign)
    op = expressions.operator_word(f, node, node.op)
    target = node.target
    if isinstance(target, ast.Name):
        _check_local(f, node, target.id)
        known = expressions.integer(f, ast.copy_location(ast.Name(target.id, ast.Load()), target))
        if target.id not in f.env:
            raise f.refuse(node, f"an assignment to “{target.id}”, which is no variable", "a variable")
        _set(f, node, target.id, known, _combined(f, node, op, known))
        return
    found = expressions.place(f, target, "an assignment")
    old = expressions.load(f, target, found)
    if not isinstance(old.type, Int):
        raise f.refuse(node, f"arithmetic on {describe(old.type)}", "an integer member")
    expressions.store(f, node, found, _combined(f, node, op, old))


def _combined(f: Frame, node: ast.AugAssign, op: str, old: Value) -> Value:
    return expressions.arithmetic(f, node, op, old, expressions.integer(f, node.value))


# ---------------------------------------------------------------------------------- branches and loops


def _if(f: Frame, node: ast.stmt) -> None:
    assert isinstance(node, ast.If)
    then, orelse, out = Label(), Label(), Label()
    with f.statement():
        expressions.branch(f, node.test, then, orelse if node.orelse else out)
    f.start(then)
    block(f, node.body)
    f.goto(node, out)
    if node.orelse:
        f.start(orelse)
        block(f, node.orelse)
        f.goto(node, out)
    f.start(out)


def _while(f: Frame, node: ast.stmt) -> None:
    assert isinstance(node, ast.While)
    _check_no_else(f, node)
    again, body, out = Label(), Label(), Label()
    f.goto(node, again)
    f.start(again)
    with f.statement():
        expressions.branch(f, node.test, body, out)
    f.start(body)
    f.loops.append(Loop(again, out))
    block(f, node.body)
    f.loops.pop()
    f.goto(node, again)
    f.start(out)


def _check_no_else(f: Frame, node: ast.While | ast.For) -> None:
    if node.orelse:
        raise f.refuse(node.orelse[0], "an else of a loop", "a variable that tells whether the loop was left")


def _for(f: Frame, node: ast.stmt) -> None:
    assert isinstance(node, ast.For)
    _check_no_else(f, node)
    if not isinstance(node.target, ast.Name):
        raise f.refuse(node.target, "a loop over more than one variable", "one variable")
    call = node.iter
    word = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
    if isinstance(call, ast.Call) and word == "range" and not call.keywords and 1 <= len(call.args) <= 3:
        _for_range(f, node, node.target.id, call)
        return
    if isinstance(call, ast.Call) and word == "pool" and isinstance(f.program.lookup(f.file, "pool"), Builtin):
        if len(call.args) == 1 and not call.keywords:
            struct = struct_named(f, call.args[0], "pool")
            reachable_pool(f, call, struct)
            handle = f.declare(node, node.target.id, Ptr(struct))
            _loop(f, node, handle, (fold.ONE, ir.Param(f"nr_{struct.name}"), 1), "<=")
            return
    raise f.refuse(call, "a loop over something else", "range(…) or pool(Struct)")


def _for_range(f: Frame, node: ast.For, name: str, call: ast.Call) -> None:
    values = [expressions.integer(f, arg) for arg in call.args]
    start = values[0] if len(values) > 1 else Value(INT, (fold.ZERO,))
    stop = values[1] if len(values) > 1 else values[0]
    step = 1
    if len(values) == 3:
        if not isinstance(values[2].expr, ir.Const) or values[2].expr.value == 0:
            raise f.refuse(call.args[2], "a step of a range that is no constant", "a while loop")
        step = values[2].expr.value
    known = f.widen(node, name, _last(start if step < 0 else stop, 0 if step < 0 else 1))
    if not isinstance(known.type, Int):
        raise f.refuse(node, f"“{name}” as a loop variable, which is {describe(known.type)}", "a second variable")
    end = stop.expr
    changed = expressions.assigned_in(node.body)
    if any(variable.partition(".")[0] in changed | {name} for variable in fold.variables(end)):
        kind = ir.Type("int", _bound_or_refuse(f, call, stop))
        saved = f.temp(kind)
        f.emit(node, ir.Assign(f.file.at(node), saved, end))
        end = ir.Var(saved)
    _loop(f, node, known, (start.expr, end, step), "<" if step > 0 else ">")


def _last(stop: Value, less: int) -> int | str | None:
    """The largest value that a variable of a loop takes, so far as it is known without running it."""
    if isinstance(stop.expr, ir.Const):
        return max(stop.expr.value - less, 0)
    return stop.type.bound if isinstance(stop.type, Int) else 1


def _bound_or_refuse(f: Frame, node: ast.Call, stop: Value) -> int | str:
    bound = _last(stop, 0)
    if bound is None:
        raise f.refuse(node, "a range that ends at what the loop changes", "a variable with a type for its end")
    return bound


def _loop(f: Frame, node: ast.For, variable: Value, span: tuple[ir.Expr, ir.Expr, int], op: str) -> None:
    """A counted loop.  The variable keeps its last value afterwards, as in Python."""
    assert isinstance(node.target, ast.Name)
    name = node.target.id
    _check_local(f, node, name)
    start, end, step = span
    at = f.file.at(node)
    first, body, again, following, out = Label(), Label(), Label(), Label(), Label()
    dst = variables(variable)[0]
    f.fork(node, fold.binary(op, start, end), first, out)
    f.start(first)
    f.emit(node, ir.Assign(at, dst, start))
    f.goto(node, body)
    f.start(body)
    f.loops.append(Loop(again, out))
    f.loop_variables.append(name)
    block(f, node.body)
    f.loop_variables.pop()
    f.loops.pop()
    f.goto(node, again)
    f.start(again)
    advanced = fold.binary("+", ir.Var(dst), ir.Const(step)) if step > 0 else ir.Bin("-", ir.Var(dst), ir.Const(-step))
    f.fork(node, _continues(op, dst, end, step, advanced), following, out)
    f.start(following)
    f.emit(node, ir.Assign(at, dst, advanced))
    f.goto(node, body)
    f.start(out)


def _continues(op: str, dst: str, end: ir.Expr, step: int, advanced: ir.Expr) -> ir.Expr:
    if op == "<=" and step == 1:
        return fold.binary("<", ir.Var(dst), end)
    return fold.binary(op, advanced, end)


def _break(f: Frame, node: ast.stmt) -> None:
    if not f.loops:
        raise f.refuse(node, "break outside a loop", "return")
    f.goto(node, f.loops[-1].out)
    f.start(Label())


def _continue(f: Frame, node: ast.stmt) -> None:
    if not f.loops:
        raise f.refuse(node, "continue outside a loop", "return")
    f.goto(node, f.loops[-1].again)
    f.start(Label())


# ---------------------------------------------------------------------------------------------- the rest


def _return(f: Frame, node: ast.stmt) -> None:
    assert isinstance(node, ast.Return) and f.decl is not None
    result = f.program.signature(f.decl).result
    if node.value is None:
        if not isinstance(result, Nothing):
            raise f.refuse(node, f"a return without a value from “{f.decl.name}”", "the value that its type promises")
        parts: tuple[ir.Expr, ...] = ()
    elif isinstance(result, Nothing):
        raise f.refuse(node, f"a return of a value from “{f.decl.name}”, whose type promises none", "“return”")
    elif isinstance(result, Tup) and isinstance(node.value, ast.Tuple):
        if len(result.items) != len(node.value.elts):
            raise f.refuse(
                node, f"{len(node.value.elts)} results, not {len(result.items)}", "as many as its type promises"
            )
        gathered: list[ir.Expr] = []
        for ty, element in zip(result.items, node.value.elts, strict=True):
            gathered += expressions.fitting(ty, expressions.value_of(f, element, ty, "this result"))
        parts = tuple(gathered)
    elif isinstance(node.value, ast.IfExp):
        _return_either(f, node, node.value)
        return
    else:
        parts = _returned(f, node.value, result)
    f.on_return(node, parts)
    f.leave(ir.Return(f.file.at(node), parts))


def _return_either(f: Frame, node: ast.Return, value: ast.IfExp) -> None:
    """`return a if c else b` is an if with two returns, which needs no variable for the result."""
    then, orelse = Label(), Label()
    with f.statement():
        expressions.branch(f, value.test, then, orelse)
    for label, side in ((then, value.body), (orelse, value.orelse)):
        f.start(label)
        _return(f, ast.copy_location(ast.Return(side), side))


def _returned(f: Frame, node: ast.expr, result: Ty) -> tuple[ir.Expr, ...]:
    new = expressions.value(f, node)
    if isinstance(result, Tup):
        if new.type != result:
            raise f.refuse(node, f"{describe(new.type)} as result, which is several values", "“return a, b”")
    elif not accepts(result, new.type):
        raise f.refuse(node, f"{describe(new.type)} as result, which is {describe(result)}", "a value of that type")
    return new.parts


def _expression(f: Frame, node: ast.stmt) -> None:
    assert isinstance(node, ast.Expr)
    call = node.value
    if is_docstring(node):
        return
    if not isinstance(call, ast.Call):
        raise f.refuse(node, "an expression that is no statement", "an assignment or a call")
    if isinstance(call.func, ast.Name) and call.func.id not in f.env:
        decl = f.program.lookup(f.file, call.func.id)
        if isinstance(decl, FunctionDecl):
            expressions.call(f, call, decl, used=False)
            return
    f.discarded = call
    expressions.value(f, call)


def _assert(f: Frame, node: ast.stmt) -> None:
    assert isinstance(node, ast.Assert)
    if node.msg is not None:
        raise f.refuse(node.msg, "an assert with a message", "the condition alone")
    bad, out = Label(), Label()
    with f.statement():
        expressions.branch(f, node.test, out, bad)
    f.start(bad)
    f.emit(node, ir.Flag(f.file.at(node), "bad_kernel_state", ()))
    f.goto(node, out)
    f.start(out)


def _pass(f: Frame, node: ast.stmt) -> None:
    """Nothing."""


_LOWER: dict[type[ast.stmt], Callable[[Frame, ast.stmt], None]] = {
    ast.Assign: _assign,
    ast.AnnAssign: _assign_annotated,
    ast.AugAssign: _assign_augmented,
    ast.If: _if,
    ast.While: _while,
    ast.For: _for,
    ast.Break: _break,
    ast.Continue: _continue,
    ast.Return: _return,
    ast.Expr: _expression,
    ast.Assert: _assert,
    ast.Pass: _pass,
}
