# SPDX-License-Identifier: GPL-2.0-only
"""Expressions: loads and calls become statements in Python's order of evaluation, the rest stays a pure expression."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ptelab import ir
from ptelab.frontend import fold
from ptelab.frontend.cfg import Label
from ptelab.frontend.declarations import (
    Builtin,
    ConstDecl,
    EnumDecl,
    FieldDecl,
    FunctionDecl,
    MemberDecl,
    ParamDecl,
    Parameter,
    RecordDecl,
    StructDecl,
    is_docstring,
)  # fmt: skip
from ptelab.frontend.frame import Dest, Frame, Key, Region
from ptelab.frontend.types import (
    BOOL,
    INT,
    NOTHING,
    Arr,
    Bool,
    Int,
    LockType,
    Nothing,
    Ptr,
    Rec,
    Tup,
    Ty,
    Value,
    accepts,
    describe,
    join,
    scalars,
)  # fmt: skip

Handler: TypeAlias = Callable[[Frame, ast.Call, Dest | None], Value]
PRIMITIVES: dict[str, Handler] = {}  # filled by `primitives`
STATEMENT_WORDS = frozenset({"flag", "reach", "pool", "param", "array", "upto"})

_BINARY = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
_COMPARE = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_REFUSED: dict[type[ast.expr], tuple[str, str]] = {
    ast.Lambda: ("a lambda", "a function at file level"),
    ast.ListComp: ("a comprehension", "a for loop"),
    ast.SetComp: ("a comprehension", "a for loop"),
    ast.DictComp: ("a comprehension", "a for loop"),
    ast.GeneratorExp: ("a generator expression", "a for loop"),
    ast.List: ("a list", "a member of type Array"),
    ast.Dict: ("a dictionary", "a struct"),
    ast.Set: ("a set", "a member of type Array[bool]"),
    ast.Tuple: ("a tuple of values", "a NamedTuple"),
    ast.NamedExpr: ("“:=” in an expression", "an assignment before it"),
    ast.JoinedStr: ("a string", "an IntEnum"),
    ast.Await: ("await", "wait_until(…)"),
    ast.Yield: ("yield", "a result"),
    ast.YieldFrom: ("yield", "a result"),
    ast.Starred: ("a starred value", "the values one by one"),
    ast.Slice: ("a slice", "one element at a time"),
}


DEPTH_MAX = 64
"""How deep expressions may lie within each other, in functions that are written into others, too: Python compiles no
more than 200 brackets, of which the reference machine's have up to three for each."""


@dataclass(slots=True)
class PlaceRef:
    """A member of a struct, found by evaluating what leads to it; nothing of it has been accessed yet."""

    struct: StructDecl
    member: FieldDecl
    place: ir.Place
    whole_array: bool
    type: Ty  # of what is wanted: of the member, or of one part of the record that it holds
    start: int  # which parts of the member that is
    stop: int


def value(f: Frame, node: ast.expr, into: Dest | None = None) -> Value:
    """Lower an expression.  The result may be put into the variables of `into` at once, if it comes by a statement."""
    lower = _LOWER.get(type(node))
    if lower is not None:
        f.depth += 1
        if f.depth > DEPTH_MAX:
            raise f.refuse(node, f"an expression within {DEPTH_MAX} others", "several statements")
        result = lower(f, node, into)
        f.depth -= 1
        return result
    what, instead = _REFUSED.get(type(node), (f"“{ast.unparse(node)}”", "an expression of the dialect"))
    raise f.refuse(node, what, instead)


def value_of(f: Frame, node: ast.expr, target: Ty, what: str, into: Dest | None = None) -> Value:
    """Lower an expression that must be of a type; `what` names what is given the value."""
    result = value(f, node, into)
    if not accepts(target, result.type):
        raise f.refuse(node, f"{describe(result.type)} for {what}, which is {describe(target)}", "a value of that type")
    return result


def integer(f: Frame, node: ast.expr) -> Value:
    """Lower an expression that must be an integer."""
    result = value(f, node)
    if not isinstance(result.type, Int | Bool):
        raise f.refuse(node, f"{describe(result.type)} in arithmetic", "an integer")
    return result


def truth(f: Frame, node: ast.expr) -> ir.Expr:
    """Lower an expression to a boolean, as `if` takes it: integers are true when not 0, handles when not None."""
    result = value(f, node)
    if isinstance(result.type, Bool):
        return result.expr
    if isinstance(result.type, Int | Ptr):
        return fold.binary("!=", result.expr, fold.ZERO)
    raise f.refuse(node, f"{describe(result.type)} as a condition", "a comparison")


def branch(f: Frame, node: ast.expr, then: Label, orelse: Label) -> None:
    """End the block by going where the condition says; operands that are not needed are not evaluated."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        branch(f, node.operand, orelse, then)
    elif isinstance(node, ast.BoolOp):
        for operand in node.values[:-1]:
            following = Label()
            if isinstance(node.op, ast.And):
                branch(f, operand, following, orelse)
            else:
                branch(f, operand, then, following)
            f.start(following)
        branch(f, node.values[-1], then, orelse)
    else:
        f.fork(node, truth(f, node), then, orelse)


# ------------------------------------------------------------------------------------------------ leaves


def _constant(f: Frame, node: ast.expr, into: Dest | None) -> Value:
    assert isinstance(node, ast.Constant)
    if node.value is None:
        return Value(NOTHING, (fold.ZERO,))
    if isinstance(node.value, bool):
        return Value(BOOL, (ir.Const(int(node.value)),))
    if isinstance(node.value, int):
        return Value(INT, (ir.Const(node.value),))
    if isinstance(node.value, str):
        raise f.refuse(node, "a string", "an IntEnum")
    raise f.refuse(node, f"“{ast.unparse(node)}”", "an integer")


def _name(f: Frame, node: ast.expr, into: Dest | None) -> Value:
    assert isinstance(node, ast.Name)
    known = f.env.get(node.id)
    if known is not None:
        return known
    if f.decl is not None and not f.inlining and node.id in assigned(f.decl):
        raise f.refuse(node, f"the variable “{node.id}” is read before it is set", f"“{node.id} = …” above")
    decl = f.program.lookup(f.file, node.id)
    if isinstance(decl, ConstDecl):
        return f.program.constant_value(decl)
    if isinstance(decl, ParamDecl):
        return Value(Int(decl.name), (ir.Param(decl.name),))
    if decl is None:
        raise f.refuse(
            node, f"“{node.id}” is not declared or imported here", f"“from … import {node.id}”, or another name"
        )
    raise f.refuse(node, f"“{node.id}” is no value", "a variable or a constant")


def assigned(decl: FunctionDecl) -> frozenset[str]:
    """The names that a function sets, which are thus local."""
    if decl.assigned is None:
        decl.assigned = assigned_in(decl.node.body)
    return decl.assigned


_ASSIGNED: dict[int, tuple[list[ast.stmt], frozenset[str]]] = {}
"""By the identity of a body, which is kept so that no other can have it: trees are parsed once for test after test."""


def assigned_in(body: list[ast.stmt]) -> frozenset[str]:
    """The names that statements set."""
    known = _ASSIGNED.get(id(body))
    if known is None:
        nodes = (n for stmt in body for n in ast.walk(stmt))
        names = frozenset(n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        known = _ASSIGNED[id(body)] = (body, names)
    return known[1]


# ---------------------------------------------------------------------------------------------- places


def place(f: Frame, node: ast.expr, word: str) -> PlaceRef:
    """Find the member that is to be accessed; nothing of it has been read when this returns."""
    found = _resolve(f, node)
    if isinstance(found, Value):
        raise f.refuse(node, f"{word} of what is no member of a struct", "x.member or x.array[i]")
    if found.whole_array:
        raise f.refuse(node, f"{word} of a whole array", "one element, x.array[i]")
    if found.type != found.member.element:
        raise f.refuse(
            node, f"{word} of one part of {found.struct.name}.{found.member.name}, which is accessed as a whole",
            "the whole value, with _replace(…)",
        )  # fmt: skip
    return found


def _resolve(f: Frame, node: ast.expr) -> PlaceRef | Value:
    """Evaluate all but the last access of a chain of attributes and subscripts."""
    if isinstance(node, ast.Subscript):
        array = _resolve(f, node.value)
        if isinstance(array, Value) or not array.whole_array:
            raise f.refuse(node, "a subscript of what is no array", "a member of type Array before the bracket")
        index = integer(f, node.slice)
        array.place = ir.Place(array.place.struct, array.place.field, array.place.handle, index.expr)
        array.whole_array = False
        return array
    if not isinstance(node, ast.Attribute):
        return value(f, node)
    if isinstance(node.value, ast.Name) and node.value.id not in f.env:
        decl = f.program.lookup(f.file, node.value.id)
        if isinstance(decl, EnumDecl):
            return _enum_value(f, node, decl)
    base = _resolve(f, node.value)
    if isinstance(base, PlaceRef) and isinstance(base.type, Rec) and not base.whole_array:
        part = _part(f, node, base.type)
        base.type, base.start, base.stop = part.type, base.start + part.start, base.start + part.stop
        return base
    if isinstance(base, PlaceRef):
        base = load(f, node.value, base)
    if isinstance(base.type, Rec):
        part = _part(f, node, base.type)
        return Value(part.type, base.parts[part.start : part.stop])
    if isinstance(base.type, Nothing):
        raise f.refuse(node, "a member of None", "a handle before the dot")
    if not isinstance(base.type, Ptr):
        raise f.refuse(
            node, f"member “{node.attr}” of {describe(base.type)}", "a struct or a NamedTuple before the dot"
        )
    member = f.member(node, base.type.struct)
    at = ir.Place(base.type.struct.name, member.name, base.expr)
    stop = len(member.ir.parts)
    return PlaceRef(base.type.struct, member, at, isinstance(member.type, Arr), member.element, 0, stop)


def _part(f: Frame, node: ast.Attribute, record: Rec) -> MemberDecl:
    part = record.decl.members.get(node.attr)
    if part is None:
        raise f.refuse(node, f"{record.decl.name} has no member “{node.attr}”", "a member that it declares")
    return part


def load(f: Frame, node: ast.AST, found: PlaceRef, into: Dest | None = None) -> Value:
    """Read a member, all parts as one access, and give what is wanted of it."""
    if found.whole_array:
        raise f.refuse(node, f"the whole array {found.struct.name}.{found.member.name}", "one element, x.array[i]")
    if isinstance(found.type, LockType):
        raise f.refuse(
            node, f"the lock {found.struct.name}.{found.member.name} as a value", "spin_lock(x.lock) and the like"
        )
    f.check_access(node, found.struct, found.member, write=False)
    wanted = f.take(node, found.type, into)
    kinds = [kind for _, kind in found.member.ir.parts]
    before = [f.temp(kind) for kind in kinds[: found.start]]
    after = [f.temp(kind) for kind in kinds[found.stop :]]
    f.emit(node, ir.Load(f.file.at(node), (*before, *wanted, *after), found.place))
    return Value(found.type, tuple(ir.Var(name) for name in wanted))


def store(f: Frame, node: ast.AST, found: PlaceRef, new: Value) -> None:
    """Write a member, all parts as one access."""
    if isinstance(found.type, LockType):
        raise f.refuse(
            node, f"an assignment to the lock {found.struct.name}.{found.member.name}", "spin_unlock(x.lock)"
        )
    if not accepts(found.type, new.type):
        raise f.refuse(
            node, f"{describe(new.type)} for {found.struct.name}.{found.member.name}, which is {describe(found.type)}",
            "a value of that type",
        )  # fmt: skip
    f.check_access(node, found.struct, found.member, write=True)
    f.emit(node, ir.Store(f.file.at(node), found.place, fitting(found.type, new)))


def fitting(target: Ty, new: Value) -> tuple[ir.Expr, ...]:
    """The parts of a value that is accepted for a type; None has one part, as every handle."""
    assert accepts(target, new.type)
    return new.parts


def _access(f: Frame, node: ast.expr, into: Dest | None) -> Value:
    found = _resolve(f, node)
    return found if isinstance(found, Value) else load(f, node, found, into)


def _enum_value(f: Frame, node: ast.Attribute, decl: EnumDecl) -> Value:
    f.program.resolve_enum(decl)
    assert decl.values is not None
    if node.attr not in decl.values:
        raise f.refuse(node, f"{decl.name} has no value “{node.attr}”", "a value that it declares")
    return Value(decl.type, (ir.Const(decl.values[node.attr]),))


# ------------------------------------------------------------------------------------------- operators


def _binary(f: Frame, node: ast.expr, into: Dest | None) -> Value:
    assert isinstance(node, ast.BinOp)
    op = operator_word(f, node, node.op)
    a, b = integer(f, node.left), integer(f, node.right)
    return arithmetic(f, node, op, a, b)


def operator_word(f: Frame, node: ast.AST, op: ast.operator) -> str:
    """The IR's word for an arithmetic operator."""
    word = _BINARY.get(type(op))
    if word is None:
        raise f.refuse(node, f"“{ast.unparse(node)}”", "+ - * // % & | ^ << or >>")
    return word


def arithmetic(f: Frame, node: ast.AST, op: str, a: Value, b: Value) -> Value:
    """a op b for integers."""
    if op in ("//", "%") and not isinstance(b.expr, ir.Const | ir.Param):
        raise f.refuse(
            node, f"“{op}” by what is no constant or parameter", "a constant divisor, or a loop that subtracts"
        )
    if op in ("//", "%") and isinstance(b.expr, ir.Const) and b.expr.value <= 0:
        number = b.expr.value or "zero"
        raise f.refuse(node, f"“{op}” by {number}", "a divisor above zero")
    return Value(Int(_bound(op, a, b)), (fold.binary(op, a.expr, b.expr),))


def _bound(op: str, a: Value, b: Value) -> int | str | None:
    """What the result of arithmetic cannot exceed whatever the values are; None when they decide."""
    bound = a.type.bound if isinstance(a.type, Int) else 1
    number = b.expr.value if isinstance(b.expr, ir.Const) else None
    if op == "%":
        return b.expr.name if isinstance(b.expr, ir.Param) else number and number - 1
    if op == "&" and number is not None and number >= 0:
        return min(bound, number) if isinstance(bound, int) else number
    return bound if op in ("//", ">>", "&") else None


def _unary(f: Frame, node: ast.expr, into: Dest | None) -> Value:
    assert isinstance(node, ast.UnaryOp)
    if isinstance(node.op, ast.Not):
        return Value(BOOL, (fold.negate(truth(f, node.operand)),))
    operand = integer(f, node.operand)
    if isinstance(node.op, ast.UAdd):
        return operand
    zero = fold.ZERO if isinstance(node.op, ast.USub) else ir.Const(-1)  # ~x is −1 − x
    return Value(INT, (fold.binary("-", zero, operand.expr),))


def _compare(f: Frame, node: ast.expr, into: Dest | None) -> Value:
    assert isinstance(node, ast.Compare)
    if any(isinstance(op, ast.In | ast.NotIn) for op in node.ops):
        raise f.refuse(node, f"“{ast.unparse(node)}”", "a loop that compares with ==")
    left = value(f, node.left)
    if len(node.ops) == 1:
        return Value(BOOL, (_compare_one(f, node, left, node.ops[0], value(f, node.comparators[0])),))
    results: list[ir.Expr] = []
    for op, right_node in zip(node.ops, node.comparators, strict=True):
        right, region = f.aside(lambda n=right_node: value(f, n))  # type: ignore[misc]
        if region is not None and results:
            raise f.refuse(
                node, "a chain of comparisons whose later values are accesses or calls", "“and” between them"
            )
        if region is not None:
            _enter(f, node, region)
        results.append(_compare_one(f, node, left, op, right))
        left = right
    joined = results[0]
    for result in results[1:]:
        joined = fold.binary("and", joined, result)
    return Value(BOOL, (joined,))


def _enter(f: Frame, node: ast.AST, region: Region) -> None:
    """Go through a region unconditionally."""
    f.goto(node, region.entry)
    f.resume(region.exit)


def _compare_one(f: Frame, node: ast.Compare, a: Value, op: ast.cmpop, b: Value) -> ir.Expr:
    if isinstance(op, ast.Is | ast.IsNot):
        if not isinstance(b.type, Nothing) or not isinstance(a.type, Ptr | Nothing):
            raise f.refuse(node, "“is” with something other than a handle and None", "== or !=")
        return fold.binary("==" if isinstance(op, ast.Is) else "!=", a.expr, fold.ZERO)
    word = _COMPARE[type(op)]
    if isinstance(a.type, Int | Bool) and isinstance(b.type, Int | Bool):
        return fold.binary(word, a.expr, b.expr)
    if not (accepts(a.type, b.type) or accepts(b.type, a.type)) or not isinstance(a.type, Ptr | Rec | Nothing):
        raise f.refuse(node, f"a comparison of {describe(a.type)} with {describe(b.type)}", "values of one type")
    if word not in ("==", "!="):
        raise f.refuse(node, f"“{word}” between values that have no order", "== or !=")
    same = fold.equal(a.parts, b.parts)
    return same if word == "==" else fold.negate(same)


# -------------------------------------------------------------------------------- what may be evaluated


def _boolean(f: Frame, node: ast.expr, into: Dest | None) -> Value:
    """`and` or `or` as a value: a boolean.  Operands that emit something are entered only if needed."""
    assert isinstance(node, ast.BoolOp)
    op = "and" if isinstance(node.op, ast.And) else "or"
    if into is not None and not isinstance(into.type, Bool | None):
        into = None
    result = _operand(f, node.values[0])
    short: Label | None = None  # where the last operands are not needed
    for position, operand in enumerate(node.values[1:], 1):
        last = into if position == len(node.values) - 1 else None
        one, region = f.aside(lambda n=operand, d=last: _operand(f, n, d))  # type: ignore[misc]
        if region is None:
            result = fold.binary(op, result, one)
            continue
        short = short or Label()
        f.fork(operand, result, *((region.entry, short) if op == "and" else (short, region.entry)))
        f.resume(region.exit)
        result = one
    if short is None:
        return Value(BOOL, (result,))
    dst = f.take(node, BOOL, into)[0]
    out = Label()
    if result != ir.Var(dst):
        f.emit(node, ir.Assign(f.file.at(node), dst, result))
    f.goto(node, out)
    f.start(short)
    f.emit(node, ir.Assign(f.file.at(node), dst, fold.ZERO if op == "and" else fold.ONE))
    f.goto(node, out)
    f.start(out)
    return Value(BOOL, (ir.Var(dst),))


def _operand(f: Frame, node: ast.expr, into: Dest | None = None) -> ir.Expr:
    result = value(f, node, into)
    if not isinstance(result.type, Bool):
        raise f.refuse(node, f"{describe(result.type)} as an operand of and/or whose value is used", "a comparison")
    return result.expr


def _conditional(f: Frame, node: ast.expr, into: Dest | None) -> Value:
    assert isinstance(node, ast.IfExp)
    test = truth(f, node.test)
    direct = into if into is not None and into.type is not None else None
    a, a_region = f.aside(lambda: value(f, node.body, direct))
    b, b_region = f.aside(lambda: value(f, node.orelse, direct))
    ty = join(_sized(a), _sized(b))
    if ty is None or isinstance(ty, Tup | Arr | LockType):
        raise f.refuse(node, f"either {describe(a.type)} or {describe(b.type)}", "values of one type")
    if a_region is None and b_region is None:
        pairs = zip(a.parts, b.parts, strict=True)
        return Value(ty, tuple(fold.select(test, x, y) for x, y in pairs))
    if isinstance(ty, Int) and ty.bound is None and into is not None and into.type is not None:
        ty = into.type
    if isinstance(ty, Nothing):
        return Value(NOTHING, (fold.ZERO,))
    dsts = f.take(node, ty, into)
    out = Label()
    entries = []
    before = f.cur
    for side, region in ((a, a_region), (b, b_region)):
        if region is None:
            label = Label()
            f.start(label)
            entries.append(label)
        else:
            f.resume(region.exit)
            entries.append(region.entry)
        kinds = (kind for _, kind in scalars(ty))
        assign_parts(f, node, list(zip(dsts, kinds, side.parts, strict=True)))
        f.goto(node, out)
    f.resume(before)
    f.fork(node, test, entries[0], entries[1])
    f.start(out)
    return Value(ty, tuple(ir.Var(dst) for dst in dsts))


def assign_parts(f: Frame, node: ast.AST, parts: list[tuple[str, ir.Type, ir.Expr]]) -> None:
    """Assign several variables at once; new values that would be read too late are saved first."""
    pending = [(dst, kind, part) for dst, kind, part in parts if part != ir.Var(dst)]
    at = f.file.at(node)
    for i, (dst, _, part) in enumerate(pending):
        for j in range(i + 1, len(pending)):
            later, kind, expr = pending[j]
            if dst in fold.variables(expr):
                saved = f.temp(kind)
                f.emit(node, ir.Assign(at, saved, expr))
                pending[j] = (later, kind, ir.Var(saved))
        f.emit(node, ir.Assign(at, dst, part))


def _sized(one: Value) -> Ty:
    """The type of a value; a number has its own size."""
    if isinstance(one.type, Int) and one.type.bound is None and isinstance(one.expr, ir.Const) and one.expr.value >= 0:
        return Int(one.expr.value)
    return one.type


# ------------------------------------------------------------------------------------------------ calls


def _call(f: Frame, node: ast.expr, into: Dest | None) -> Value:
    assert isinstance(node, ast.Call)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "_replace":
        return _replace(f, node)
    if not isinstance(node.func, ast.Name):
        raise f.refuse(node, f"a call of “{ast.unparse(node.func)}”", "the name of a function")
    name = node.func.id
    decl = f.program.lookup(f.file, name) if name not in f.env else None
    if isinstance(decl, FunctionDecl):
        return call(f, node, decl, into)
    if isinstance(decl, RecordDecl):
        return _construct(f, node, decl)
    if isinstance(decl, Builtin) and name in PRIMITIVES:
        result = PRIMITIVES[name](f, node, into)
        if not result.parts and f.discarded is not node:
            raise f.refuse(node, f"the value of {name}(…), which has none", "it as a statement")
        return result
    if isinstance(decl, StructDecl):
        raise f.refuse(node, f"a new {name}", f"new({name}) for a stack object, or an element of the pool")
    if isinstance(decl, Builtin) and name in STATEMENT_WORDS:
        raise f.refuse(node, f"{name}(…) here", "it where docs/dialect.md shows it")
    if decl is None and name not in f.env:
        raise f.refuse(node, f"“{name}” is not declared or imported here", f"“from … import {name}”, or another name")
    raise f.refuse(node, f"a call of “{name}”, which is no function", "the name of a function")


def call(
    f: Frame, node: ast.Call, decl: FunctionDecl, into: Dest | None = None, used: bool = True,
    targets: Callable[[], tuple[str, ...]] | None = None,
) -> Value:  # fmt: skip
    """Call a function of the model; `used` tells whether its result is, `targets` where several results go."""
    if f.eager:
        return _inline(f, node, decl)
    _check_call(f, node, decl, used)
    result = f.program.signature(decl).result
    args = [part for ty, arg in arguments(f, node, decl) for part in fitting(ty, arg)]
    ghost = decl.ghost or f.ghost
    function = f.callee(node, Key(decl, ghost))
    if isinstance(result, Nothing):
        if used:
            raise f.refuse(node, f"the result of “{decl.name}”, which returns none", "the call as a statement")
        dsts: tuple[str, ...] = ()
    else:
        dsts = targets() if targets is not None else f.take(node, result, into) if used else ()
    f.emit(node, ir.Call(f.file.at(node), dsts, function, tuple(args)))
    return Value(result, tuple(ir.Var(dst) for dst in dsts))


def _check_call(f: Frame, node: ast.Call, decl: FunctionDecl, used: bool) -> None:
    if decl.ghost and not f.ghost and not f.is_setup:
        if f.file.room == "linux":
            raise f.refuse(node, f"kernel code calls the ghost function “{decl.name}”", "a hook in invariants.py")
        if used:
            raise f.refuse(
                node, f"code of the system uses the result of the ghost “{decl.name}”", "a function of the system"
            )


def arguments(f: Frame, node: ast.Call, decl: FunctionDecl) -> list[tuple[Ty, Value]]:
    """The values of the arguments in the order of the parameters, evaluated in the order of the call."""
    params = f.program.signature(decl).params
    given: dict[str, Value] = {}
    if len(node.args) > len(params):
        raise f.refuse(
            node, f"“{decl.name}” takes {len(params)} arguments, not {len(node.args)}", "as many as it takes"
        )
    for param, arg in zip(params, node.args, strict=False):
        given[param.name] = value_of(f, arg, param.type, f"“{param.name}”")
    known = {param.name: param for param in params}
    for keyword in node.keywords:
        named = known.get(keyword.arg or "")
        if named is None or named.name in given:
            raise f.refuse(keyword.value, f"“{decl.name}” gets no argument “{keyword.arg}” here", "each parameter once")
        given[named.name] = value_of(f, keyword.value, named.type, f"“{named.name}”")
    return [(param.type, _argument(f, node, decl, param, given)) for param in params]


def _argument(f: Frame, node: ast.Call, decl: FunctionDecl, param: Parameter, given: dict[str, Value]) -> Value:
    found = given.get(param.name, param.default)
    if found is None:
        raise f.refuse(node, f"“{decl.name}” lacks its argument “{param.name}”", f"{param.name}=… in the call")
    return found


def _inline(f: Frame, node: ast.Call, decl: FunctionDecl) -> Value:
    """The value of a call inside the condition of a wait, where there are no calls: its body must be one return."""
    body = [s for i, s in enumerate(decl.node.body) if not (i == 0 and is_docstring(s))]
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None or decl in f.inlining:
        raise f.refuse(
            node, f"wait_until calls “{decl.name}”, which does more than return a value", "the condition itself"
        )
    result = f.program.signature(decl).result
    args = arguments(f, node, decl)
    names = [param.name for param in f.program.signature(decl).params]
    f.inlined = True
    file, env, inlining = f.file, f.env, f.inlining
    f.file, f.inlining = decl.file, (*inlining, decl)
    f.env = {name: Value(ty, arg.parts) for name, (ty, arg) in zip(names, args, strict=True)}
    try:
        found = value_of(f, body[0].value, result, "the result")
    finally:
        f.file, f.env, f.inlining = file, env, inlining
    return Value(result, found.parts)


# ---------------------------------------------------------------------------------------------- records


def _construct(f: Frame, node: ast.Call, decl: RecordDecl) -> Value:
    f.program.resolve_record(decl)
    if node.args:
        raise f.refuse(node.args[0], f"a member of {decl.name} without its name", f"{decl.name}(name=…)")
    parts: list[ir.Expr] = [fold.ZERO] * len(decl.parts)
    return _with_members(f, node, decl, parts)


def _replace(f: Frame, node: ast.Call) -> Value:
    assert isinstance(node.func, ast.Attribute)
    base = value(f, node.func.value)
    if not isinstance(base.type, Rec):
        raise f.refuse(node, f"_replace of {describe(base.type)}", "an assignment to the member")
    if node.args:
        raise f.refuse(node.args[0], "a member without its name in _replace", "_replace(name=…)")
    return _with_members(f, node, base.type.decl, list(base.parts))


def _with_members(f: Frame, node: ast.Call, decl: RecordDecl, parts: list[ir.Expr]) -> Value:
    for keyword in node.keywords:
        member = decl.members.get(keyword.arg or "")
        if member is None:
            raise f.refuse(keyword.value, f"{decl.name} has no member “{keyword.arg}”", "a member that it declares")
        new = value_of(f, keyword.value, member.type, f"{decl.name}.{keyword.arg}")
        parts[member.start : member.stop] = fitting(member.type, new)
    return Value(Rec(decl), tuple(parts))


_LOWER: dict[type[ast.expr], Callable[[Frame, ast.expr, Dest | None], Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _access,
    ast.Subscript: _access,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.BoolOp: _boolean,
    ast.IfExp: _conditional,
    ast.Call: _call,
}
