# SPDX-License-Identifier: GPL-2.0-only
"""Where control may go from a point, over calls and returns, without a stop: what one transition may execute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ptelab import ir
from ptelab.flow import calls, successors

Point = tuple[int, int]
"""Block and statement; behind the last statement stands the block's terminator."""

Node = tuple[str, int, int]
"""Function, block and statement."""

# A function that was entered on the way is *inner*: it returns to where it was called from, and no further.  So what
# the callers of a function do next is found for the function one starts in and for its callers only.
_Node = tuple[bool, str, int, int]


class Between:
    """The ways between stops in some functions, callees first, of which `stops` has the points where a thread stops."""

    def __init__(self, module: ir.Module, order: Iterable[str], stops: Mapping[str, set[Point]]) -> None:
        self._functions = {name: module.functions[name] for name in order}
        self._stops = stops
        self._passes: set[str] = set()  # functions that may return without a stop
        self._callers: dict[str, list[Node]] = {name: [] for name in self._functions}
        for name in self._functions:
            if self._may_pass(name):
                self._passes.add(name)
            for b, i, call in calls(self._functions[name]):
                self._callers[call.function].append((name, b, i + 1))
        self._previous: dict[_Node, list[_Node]] = {}
        for node in self._nodes():
            for following in self._next(node):
                self._previous.setdefault(following, []).append(node)

    def after(self, starts: Iterable[Node]) -> set[Node]:
        """These points and those to which control may go from them; stops are gone to, and not beyond."""
        seen: set[_Node] = set()
        todo: list[_Node] = [(False, *start) for start in starts]
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo += self._next(node)
        return {(name, b, i) for _, name, b, i in seen}

    def before(self, ends: Iterable[Node]) -> set[Node]:
        """These points and those from which control may come to them, be it within a call."""
        seen: set[_Node] = set()
        todo: list[_Node] = [(inner, *end) for end in ends for inner in (False, True)]
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo += self._previous.get(node, ())
        return {(name, b, i) for inner, name, b, i in seen if not inner}

    def loops(self) -> set[Node]:
        """The points from which control may come to a loop without a stop."""
        ways = {node: len(self._next(node)) for node in self._nodes()}
        todo = [node for node, count in ways.items() if not count]
        while todo:  # what leads only to ends leads to no loop
            for node in self._previous.get(todo.pop(), ()):
                ways[node] -= 1
                if not ways[node]:
                    todo.append(node)
        return {(name, b, i) for (_, name, b, i), count in ways.items() if count}

    def _nodes(self) -> Iterator[_Node]:
        for name, function in self._functions.items():
            for b, block in enumerate(function.blocks):
                for i in range(len(block.stmts) + 1):
                    yield False, name, b, i
                    yield True, name, b, i

    def _may_pass(self, name: str) -> bool:
        """Whether a function may return without a stop; its callees must be known."""
        blocks = self._functions[name].blocks
        seen: set[_Node] = set()
        todo: list[_Node] = [(True, name, 0, 0)]
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                _, _, b, i = node
                if i == len(blocks[b].stmts) and isinstance(blocks[b].term, ir.Return):
                    return True
                todo += [following for following in self._next(node) if following[1] == name]
        return False

    def _next(self, node: _Node) -> list[_Node]:
        """Where control goes from a point: from a stop, and from a flag, which ends the run, nowhere."""
        inner, name, b, i = node
        if (b, i) in self._stops.get(name, ()):
            return []
        block = self._functions[name].blocks[b]
        if i == len(block.stmts):
            if isinstance(block.term, ir.Return):
                return [] if inner else [(False, *caller) for caller in self._callers[name]]
            return [(inner, name, s, 0) for s in successors(block.term)]
        stmt, following = block.stmts[i], (inner, name, b, i + 1)
        if isinstance(stmt, ir.Call):
            entered = (True, stmt.function, 0, 0)
            return [entered, following] if stmt.function in self._passes else [entered]
        return [] if isinstance(stmt, ir.Flag) else [following]
