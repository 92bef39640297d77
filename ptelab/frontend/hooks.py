# SPDX-License-Identifier: GPL-2.0-only
"""Hooks: ghost functions that watch other functions without a mark in them."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from ptelab import ir
from ptelab.frontend.declarations import File, FunctionDecl
from ptelab.frontend.errors import refuse
from ptelab.frontend.expressions import assigned
from ptelab.frontend.frame import Frame, Key
from ptelab.frontend.program import Program
from ptelab.frontend.types import Nothing, Value, describe, scalars


@dataclass(slots=True)
class Hook:
    on_return: bool
    function: FunctionDecl


def collect(program: Program) -> dict[FunctionDecl, list[Hook]]:
    """The hooks of all loaded files by the function watched, in the order of files and lines."""
    found: dict[FunctionDecl, list[Hook]] = {}
    for path in sorted(program.files):
        file = program.files[path]
        for function in file.functions:
            for when, target in function.hooks:
                found.setdefault(_watched(program, file, target), []).append(Hook(when == "on_return", function))
    return found


def _watched(program: Program, file: File, target: ast.expr) -> FunctionDecl:
    decl = program.lookup(file, target.id) if isinstance(target, ast.Name) else None
    if not isinstance(decl, FunctionDecl):
        raise refuse(file.name, target, "a hook on what is no function", "the name of a function of the model")
    if decl.ghost:
        raise refuse(file.name, target, f"a hook on the ghost function “{decl.name}”", "a call of the hook in it")
    return decl


def weave(f: Frame, hooks: list[Hook]) -> None:
    """Call the entry hooks, and see to it that every return calls the others with the parameters as they are now."""
    decl = f.decl
    assert decl is not None
    params = {name: f.env[name] for name in (p.name for p in f.program.signature(decl).params)}
    for hook in hooks:
        if not hook.on_return:
            _call(f, decl.node, hook.function, params, None)
    returns = [hook.function for hook in hooks if hook.on_return]
    wanted = {p.name for function in returns for p in f.program.signature(function).params}
    entry = {
        name: _copied(f, decl, name, value) if name in wanted and name in assigned(decl) else value
        for name, value in params.items()
    }
    result = f.program.signature(decl).result

    def at_return(node: ast.AST, values: tuple[ir.Expr, ...]) -> None:
        for function in returns:
            _call(f, node, function, entry, Value(result, values))

    if returns:
        f.on_return = at_return


def _copied(f: Frame, decl: FunctionDecl, name: str, value: Value) -> Value:
    """A copy of a parameter that the function assigns to."""
    names = []
    for (suffix, kind), part in zip(scalars(value.type), value.parts, strict=True):
        copy = f"{name}@entry.{suffix}" if suffix else f"{name}@entry"
        f.vars[copy] = kind
        f.emit(decl.node, ir.Assign(f.file.at(decl.node), copy, part))
        names.append(copy)
    return Value(value.type, tuple(ir.Var(copy) for copy in names))


def _call(f: Frame, node: ast.AST, hook: FunctionDecl, params: dict[str, Value], result: Value | None) -> None:
    args: list[ir.Expr] = []
    for param in f.program.signature(hook).params:
        given = result if result is not None and param.name == "result" else params.get(param.name)
        if given is None or isinstance(given.type, Nothing):
            what = f"the hook “{hook.name}” wants “{param.name}”, which the function watched does not have"
            names = ", ".join([*params, *(["result"] if result is not None else [])])
            raise refuse(hook.file.name, hook.node, what, f"one of: {names}" if names else "no parameters")
        if given.type != param.type:
            what = f"the hook “{hook.name}” takes {describe(param.type)} as “{param.name}”"
            raise refuse(
                hook.file.name, hook.node, what, f"the type that the function watched has, {describe(given.type)}"
            )
        args += given.parts
    f.emit(node, ir.Call(f.file.at(node), (), f.callee(node, Key(hook, True)), tuple(args)))
