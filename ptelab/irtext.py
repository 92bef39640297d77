# SPDX-License-Identifier: GPL-2.0-only
"""The IR as text, for golden files and for people: one statement a line, with the line of the source it comes from."""

from __future__ import annotations

from ptelab import ir

_PRECEDENCE = {
    "or": 1, "and": 2, "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4, "|": 5, "^": 6, "&": 7,
    "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "//": 10, "%": 10,
}  # fmt: skip


def module(m: ir.Module) -> str:
    """All structs and functions of a module."""
    parts = [struct(s) for s in m.structs.values()] + [function(f) for f in m.functions.values()]
    return "\n".join(parts)


def type_(t: ir.Type) -> str:
    """bool, int ≤ bound, or the struct pointed to."""
    if t.kind == "ptr":
        return f"{t.struct}*"
    return f"int≤{t.bound}" if t.kind == "int" else t.kind


def struct(s: ir.Struct) -> str:
    """A struct with its members."""
    lines = [f"{s.kind} struct {s.name}"]
    for f in s.fields:
        parts = ", ".join(f"{name}: {type_(t)}" if name else type_(t) for name, t in f.parts)
        shown = f.lock or (parts if not f.parts[0][0] else f"{{{parts}}}")
        count = "" if f.count is None else f"[{f.count}]"
        lines.append(f"  {'ghost ' if f.ghost else ''}{f.name}{count}: {shown}")
    return "\n".join(lines) + "\n"


def function(f: ir.Function) -> str:
    """A function with its variables and blocks."""
    params = ", ".join(f"{name}: {type_(f.vars[name])}" for name in f.params)
    results = ", ".join(type_(t) for t in f.results)
    lines = [f"{'ghost ' if f.ghost else ''}function {f.name}({params}){' -> ' + results if results else ''}"]
    others = [f"{name}: {type_(t)}" for name, t in f.vars.items() if name not in f.params]
    if others:
        lines.append(f"  var {', '.join(others)}")
    for number, block in enumerate(f.blocks):
        lines.append(f" {number}:")
        lines += [_line(stmt.at, statement(stmt)) for stmt in block.stmts]
        lines.append(_line(block.term.at, terminator(block.term)))
    return "\n".join(lines) + "\n"


def _line(at: ir.At, text: str) -> str:
    return f"{at.line:5}  {text}"


def statement(s: ir.Stmt) -> str:
    """One statement."""
    match s:
        case ir.Assign(dst=dst, value=value):
            return f"{dst} = {expr(value)}"
        case ir.Load(dsts=dsts, place=p):
            return f"load {_names(dsts)} = {place(p)}"
        case ir.Store(place=p, values=values):
            return f"store {place(p)} = {_exprs(values)}"
        case ir.Atomic(op=op, dsts=dsts, place=p, args=args):
            return f"{_to(dsts)}{op} {place(p)}, {_exprs(args)}"
        case ir.Lock(op=op, dst=dst, place=p):
            return f"{_to(() if dst is None else (dst,))}{op} {place(p)}"
        case ir.Wait(pre=pre, dsts=dsts, place=p, cond=cond):
            loads = "".join(f"{_names(load.dsts)} = {place(load.place)}; " for load in pre)
            return f"wait {loads}{_names(dsts)} = {place(p)} until {expr(cond)}"
        case ir.Choose(dst=dst, count=count):
            return f"{dst} = choose {expr(count)}"
        case ir.Call(dsts=dsts, function=name, args=args):
            return f"{_to(dsts)}call {name}({_exprs(args)})"
        case ir.Flag(name=name, args=labelled):
            return f"flag {name}" + "".join(f" {label}: {type_(t)} = {expr(e)}" for label, t, e in labelled)
        case ir.Reach(name=name):
            return f"reach {name}"
        case ir.AssertHeld(place=p, mode=mode):
            return f"assert {mode} {place(p)}"
        case ir.New(dst=dst, struct=name):
            return f"{dst} = new {name}"


def terminator(t: ir.Term) -> str:
    """The end of a block."""
    match t:
        case ir.Jump(to=to):
            return f"jump {to}"
        case ir.Branch(cond=cond, then=then, orelse=orelse):
            return f"branch {expr(cond)} ? {then} : {orelse}"
        case ir.Return(values=values):
            return f"return {_exprs(values)}".rstrip()


def place(p: ir.Place) -> str:
    """handle→Struct.field[index]"""
    index = "" if p.index is None else f"[{expr(p.index)}]"
    return f"{_operand(p.handle, 11)}→{p.struct}.{p.field}{index}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _to(names: tuple[str, ...]) -> str:
    return f"{', '.join(names)} = " if names else ""


def _exprs(exprs: tuple[ir.Expr, ...]) -> str:
    return ", ".join(expr(e) for e in exprs)


def _operand(e: ir.Expr, least: int) -> str:
    """An operand, in brackets when it binds less than what is around it."""
    binds = 11
    if isinstance(e, ir.Bin):
        binds = _PRECEDENCE[e.op]
    elif isinstance(e, ir.Select):
        binds = 0
    elif isinstance(e, ir.Not):
        binds = 3
    elif isinstance(e, ir.Const) and e.value < 0:
        binds = 10
    return expr(e) if binds >= least else f"({expr(e)})"


def expr(e: ir.Expr) -> str:
    """An expression, with as few brackets as Python needs; layout parameters after a $."""
    match e:
        case ir.Const(value):
            return str(value)
        case ir.Param(name):
            return f"${name}"
        case ir.Var(name):
            return name
        case ir.Self(what):
            return f"${what}"
        case ir.Not(a):
            return f"not {_operand(a, 3)}"
        case ir.Select(cond, a, b):
            return f"{_operand(a, 1)} if {_operand(cond, 1)} else {_operand(b, 1)}"
        case ir.Bin(op, a, b):
            binds = _PRECEDENCE[op]
            left = binds + 1 if binds == 4 else binds  # comparisons do not chain
            return f"{_operand(a, left)} {op} {_operand(b, binds + 1)}"
