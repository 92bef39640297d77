# SPDX-License-Identifier: GPL-2.0-only
"""What no thread can reach is left out, and nothing else; whoever gets there all the same is caught."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from ptelab import machine as machines
from ptelab import programs, search
from ptelab.machine import Machine
from ptelab.native.engine import Engine
from ptelab.values import TRAP, join

PROGRAM = """
from ptelab.lang import at, atomic_add, ghost, struct, thread, u4, u8

@struct
class Box:
    mode: u4
    word: u8
    other: u8

@ghost
def final() -> tuple[u8, u8]:
    return box().word, box().other

def box() -> Box:
    return at(Box, 0)

def setup() -> None:
    box().mode = MODE

def rarely(value: u8) -> None:
    box().other = value

@thread()
def first() -> None:
    if box().mode == 3:
        rarely(7)
    box().word = 1

@thread()
def second() -> None:
    SECOND
"""


def machine(tmp_path: Path, mode: int, second: str, reductions: set[str]) -> Machine:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM).replace("MODE", str(mode)).replace("SECOND", second), encoding="utf-8")
    return Machine(programs.read(path, {}, frozenset(reductions)))


@pytest.mark.parametrize(
    ("mode", "second", "reached"),
    [
        (3, "pass", True),
        (2, "pass", False),
        (2, "box().mode = 3", True),
        (2, "box().mode = 4", False),
        (2, "atomic_add(1, box().mode)", True),
        (2, "box().mode = box().mode | 1", True),
        (2, "box().mode = box().mode & 1", False),
        (2, "if box().word == 1:\n        box().mode = 3", True),
        (2, "if box().word == 2:\n        box().mode = 3", False),
    ],
)
def test_what_can_be_reached_stays(tmp_path: Path, mode: int, second: str, reached: bool) -> None:
    """Code that some run enters must not be left out; code behind a value that nobody writes need not stay."""
    whole, pruned = machine(tmp_path, mode, second, set()), machine(tmp_path, mode, second, {"unreached"})
    assert "rarely" in whole.program.order
    assert ("rarely" in pruned.program.order) == reached
    full, less = search.explore(whole), search.explore(pruned)
    assert set(full.outcomes) == set(less.outcomes) == set(Engine(pruned, 1, 1 << 28).run().outcomes)
    assert not less.flags


def test_a_run_that_leaves_what_was_found_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the analysis wrong, a run must not go on silently without the code that it needs."""
    monkeypatch.setattr(machines.Values, "_write", lambda *_: None)  # an analysis that overlooks every store
    wrong = machine(tmp_path, 2, "box().mode = 3", {"unreached"})
    assert "rarely" not in wrong.program.order
    assert set(search.explore(wrong).flags) == {TRAP}
    assert set(Engine(wrong, 1, 1 << 28).run().flags) == {TRAP}


def test_many_numbers_are_any_number() -> None:
    """A set must not grow without end, and unknown must not become known again."""
    value = frozenset(range(10))
    assert join(value, frozenset({3})) is value
    assert join(value, frozenset(range(20, 30))) is None
    assert join(None, value) is None
