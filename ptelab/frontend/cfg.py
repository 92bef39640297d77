# SPDX-License-Identifier: GPL-2.0-only
"""Basic blocks while a function is built, and their tidying: what cannot be reached or says nothing goes away."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ptelab import ir
from ptelab.frontend import fold


@dataclass(slots=True, eq=False)
class Label:
    """A block under construction; it gets its number at the end."""

    stmts: list[ir.Stmt] = field(default_factory=list)
    term: Term | None = None


@dataclass(slots=True)
class Goto:
    at: ir.At
    to: Label


@dataclass(slots=True)
class Fork:
    at: ir.At
    cond: ir.Expr
    then: Label
    orelse: Label


Term: TypeAlias = Goto | Fork | ir.Return


def finish(labels: list[Label]) -> list[ir.Block]:
    """The blocks of a function in the order in which they were begun; the first is the entry."""
    for label in labels:
        if isinstance(label.term, Fork) and isinstance(label.term.cond, ir.Const):
            label.term = Goto(label.term.at, label.term.then if label.term.cond.value else label.term.orelse)
    _thread_jumps(labels)
    while _merge(labels):
        pass
    kept = _reachable(labels)
    number = {id(label): i for i, label in enumerate(kept)}
    return [ir.Block(label.stmts, _term(label, number)) for label in kept]


def _term(label: Label, number: dict[int, int]) -> ir.Term:
    term = label.term
    if isinstance(term, Goto):
        return ir.Jump(term.at, number[id(term.to)])
    if isinstance(term, Fork):
        return ir.Branch(term.at, term.cond, number[id(term.then)], number[id(term.orelse)])
    assert term is not None
    return term


def _successors(label: Label) -> tuple[Label, ...]:
    if isinstance(label.term, Goto):
        return (label.term.to,)
    if isinstance(label.term, Fork):
        return (label.term.then, label.term.orelse)
    return ()


def _reachable(labels: list[Label]) -> list[Label]:
    seen = {id(labels[0])}
    work = [labels[0]]
    while work:
        for label in _successors(work.pop()):
            if id(label) not in seen:
                seen.add(id(label))
                work.append(label)
    return [label for label in labels if id(label) in seen]


def _thread_jumps(labels: list[Label]) -> None:
    """Let jumps to empty blocks go where those blocks go."""

    def target(label: Label) -> Label:
        seen = set()
        while not label.stmts and isinstance(label.term, Goto) and id(label) not in seen:
            seen.add(id(label))
            label = label.term.to
        return label

    for label in labels:
        if isinstance(label.term, Goto):
            label.term.to = target(label.term.to)
        elif isinstance(label.term, Fork):
            label.term.then = target(label.term.then)
            label.term.orelse = target(label.term.orelse)
            if label.term.then is label.term.orelse:
                label.term = Goto(label.term.at, label.term.then)


def _merge(labels: list[Label]) -> bool:
    """Join blocks with their only predecessor, and chains of branches into one; true when anything changed."""
    labels[:] = _reachable(labels)
    predecessors: dict[int, int] = {id(labels[0]): 1}
    for label in labels:
        for successor in _successors(label):
            predecessors[id(successor)] = predecessors.get(id(successor), 0) + 1
    changed = False
    for label in labels:
        while isinstance(label.term, Goto) and label.term.to is not label and predecessors[id(label.term.to)] == 1:
            following = label.term.to
            label.stmts.extend(following.stmts)
            label.term = following.term
            following.stmts, following.term = [], None  # unreachable from now on
            changed = True
        while isinstance(label.term, Fork) and _merge_fork(label.term, predecessors):
            changed = True
    if changed:
        labels[:] = _reachable(labels)
    return changed


def _merge_fork(fork: Fork, predecessors: dict[int, int]) -> bool:
    """Make one branch of two, when the second stands alone in a block that only the first leads to."""
    for second, other, when in ((fork.then, fork.orelse, True), (fork.orelse, fork.then, False)):
        term = second.term
        if second.stmts or not isinstance(term, Fork) or predecessors[id(second)] != 1 or term is fork:
            continue
        first = fork.cond if when else fold.negate(fork.cond)  # leads to `second`, else to `other`
        if term.orelse is other:
            fork.cond, fork.then, fork.orelse = fold.binary("and", first, term.cond), term.then, other
        elif term.then is other:
            fork.cond = fold.binary("or", fold.negate(first), term.cond)
            fork.then, fork.orelse = other, term.orelse
        else:
            continue
        predecessors[id(other)] -= 1
        second.term = None
        return True
    return False
