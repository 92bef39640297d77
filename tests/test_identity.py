# SPDX-License-Identifier: GPL-2.0-only
"""What is remembered about objects by their identity."""

from __future__ import annotations

import pytest

from ptelab import flow, identity, ir, link
from ptelab.identity import by_identity


@pytest.mark.parametrize("kept", [1, 2, 1000])
def test_answers_are_never_those_of_another_object(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that is gone must not answer for the one that lies in its place now."""
    monkeypatch.setattr(identity, "KEPT", kept)
    length = by_identity(lambda of: len(of))
    for number in range(300):
        of = list(range(number % 7))
        assert length(of) == length(of) == number % 7


def test_a_function_is_asked_once() -> None:
    """What is known is not to be found out again."""
    asked: list[object] = []
    remembered = by_identity(asked.append)
    first, second = [1], [1]
    for of in (first, second, first):
        remembered(of)
    assert len(asked) == 2
    assert asked[0] is first
    assert asked[1] is second


def _calls(name: str, ghost: bool, *callees: str) -> ir.Function:
    at = ir.At("f.py", 1)
    stmts: list[ir.Stmt] = [ir.Call(at, (), callee, ()) for callee in callees]
    return ir.Function(name, (), (), {}, [ir.Block(stmts, ir.Return(at, ()))], ghost, at)


def test_only_functions_that_change_are_copied() -> None:
    """A ghost's callee must become a ghost without touching the function that threads run and other tests share."""
    shared, leaf = _calls("shared", False, "leaf"), _calls("leaf", False)
    ghost = _calls("ghost", True, "shared")
    module = ir.Module({}, {f.name: f for f in (shared, leaf, ghost)})
    made = link.with_ghost_calls(module, ["shared"], ["ghost"])
    assert list(made.functions) == ["shared", "leaf", "ghost", "shared~", "leaf~"]
    assert made.functions["shared"] is shared
    assert made.functions["leaf"] is leaf
    assert [c.function for _, _, c in flow.calls(made.functions["ghost"])] == ["shared~"]
    assert [c.function for _, _, c in flow.calls(made.functions["shared~"])] == ["leaf~"]
    assert made.functions["shared~"].ghost
    assert [c.function for _, _, c in flow.calls(ghost)] == ["shared"]
