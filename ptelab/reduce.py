# SPDX-License-Identifier: GPL-2.0-only
"""Reductions: fewer states, the same verdicts and outcomes.  Each has a name and can be switched off."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from ptelab import ir
from ptelab.flow import expr_vars, successors
from ptelab.identity import by_identity
from ptelab.link import callees_first, written_fields
from ptelab.scenario import Scenario

REDUCTIONS = {
    "local": "work that concerns nobody else is part of the step before it: what a step is, so --no-reduce leaves it",
    "unreached": "code that no thread can reach, given what variables and members can hold, is left out",
    "constant": "reads of shared members that no thread of the scenario ever writes are part of the step before",
    "dead": "local variables that will not be read again are zeroed",
    "ample": "where one thread's transition cannot be told from a later one by any other thread, only it is taken",
    "symmetry": "of states in which only like threads have changed places, one stands for all",
}
NONE = frozenset({"local"})
"""No reduction: what `--no-reduce` leaves, and what is exported.  Reading a constant is a step if nobody can tell."""


def chosen(reduce: bool, without: Iterable[str] = ()) -> frozenset[str]:
    """The names of the reductions that are on: all of them or none, less those named."""
    return (frozenset(REDUCTIONS) if reduce else NONE) - frozenset(without)


@dataclass(frozen=True, slots=True)
class Reduction:
    """Which reductions are on, with what an analysis of the scenario found for them."""

    local: bool = True
    constant: bool = True
    dead: bool = False
    ample: bool = False
    symmetry: bool = False
    free_fields: frozenset[tuple[str, str]] = frozenset()  # shared members that no thread writes

    @classmethod
    def of(cls, scenario: Scenario, module: ir.Module) -> Reduction:
        """What a scenario asks for; `module` is its linked code without what no thread can reach, if that is known."""
        names = scenario.reductions
        written = written_fields(module, callees_first(module, list(module.functions)))
        free = frozenset(
            (s.name, f.name)
            for s in module.structs.values()
            if s.kind == "shared"
            for f in s.fields
            if not f.lock and not f.ghost and (s.name, f.name) not in written
        )
        return cls("local" in names, "constant" in names, "dead" in names, "ample" in names, "symmetry" in names, free)


def without_dead_branches(module: ir.Module, params: Mapping[str, int]) -> ir.Module:
    """A module without the statements that a layout's parameters rule out: those of features that are switched off."""
    return ir.Module(module.structs, {name: _live(function, params) for name, function in module.functions.items()})


def _live(function: ir.Function, params: Mapping[str, int]) -> ir.Function:
    terms = [block.term for block in function.blocks]
    for number in _without_variables(function):
        terms[number] = _decided(terms[number], params)
    if all(term is block.term for term, block in zip(terms, function.blocks, strict=True)):
        return function
    seen, todo = {0}, [0]
    while todo:
        for block in successors(terms[todo.pop()]):
            if block not in seen:
                seen.add(block)
                todo.append(block)
    blocks = [ir.Block(b.stmts if i in seen else [], terms[i]) for i, b in enumerate(function.blocks)]
    return replace(function, blocks=blocks)


@by_identity
def _without_variables(function: ir.Function) -> tuple[int, ...]:
    """The blocks that end in a branch on nothing but parameters and constants."""
    terms = ((number, block.term) for number, block in enumerate(function.blocks))
    return tuple(n for n, term in terms if isinstance(term, ir.Branch) and not expr_vars(term.cond))


def _decided(term: ir.Term, params: Mapping[str, int]) -> ir.Term:
    if isinstance(term, ir.Branch) and (value := _value(term.cond, params)) is not None:
        return ir.Jump(term.at, term.then if value else term.orelse)
    return term


# A comparison of parameters and constants; None for everything else.
def _value(expr: ir.Expr, params: Mapping[str, int]) -> int | None:
    match expr:
        case ir.Const(value):
            return value
        case ir.Param(name):
            return params.get(name)
        case ir.Not(a):
            inner = _value(a, params)
            return None if inner is None else int(not inner)
        case ir.Bin(op="==" | "!=" | "<" | "<=" | ">" | ">=" as op, a=a, b=b):
            left, right = _value(a, params), _value(b, params)
            return None if left is None or right is None else int(_COMPARE[op](left, right))
    return None


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
