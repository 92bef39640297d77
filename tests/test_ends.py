# SPDX-License-Identifier: GPL-2.0-only
"""No reduction may bring the end of a run forward, and reading what nobody writes is no step where somebody could tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptelab import checking, link, programs
from ptelab.checking import Options
from ptelab.reduce import NONE, REDUCTIONS

LAST_MOMENT = """
from __future__ import annotations
from ptelab.lang import at, choose, daemon, ghost, struct, thread, u1

@struct
class Words:
    own: u1
    seen: u1

@thread()
def program() -> None:
    at(Words, 0).own = 1

@daemon(cpu=0)
def hardware() -> None:
    while True:
        at(Words, 0).seen = choose(2)

@ghost
def final() -> u1:
    return at(Words, 0).seen
"""
ANSWER = """
from __future__ import annotations
from ptelab.lang import at, choose, daemon, ghost, struct, thread, u1

@struct
class Words:
    own: u1
    last: u1
    seen: u1

@ghost
def final() -> u1:
    return at(Words, 0).seen

@daemon(cpu=0)
def hardware() -> None:
    while True:
        if choose(2):
            at(Words, 0).seen = at(Words, 0).last
"""
HARDWARE = (
    ANSWER
    + """
@thread()
def program() -> None:
    at(Words, 0).last = 1
"""
)
OTHER_PROGRAM = """
@thread()
def other() -> None:
    at(Words, 0).own = 1
"""
OTHER_HARDWARE = """
@daemon(cpu=0)
def other() -> None:
    while True:
        if choose(2):
            at(Words, 0).own = 0
            at(Words, 0).own = 1
"""


@pytest.mark.parametrize("text", [LAST_MOMENT, HARDWARE + OTHER_PROGRAM, HARDWARE + OTHER_HARDWARE])
@pytest.mark.parametrize("engine", checking.ENGINES)
def test_what_hardware_does_in_the_last_moment_is_not_put_off(
    tmp_path: Path, engine: checking.EngineName, text: str
) -> None:
    """No reduction may bring the end of a run forward: what a daemon would have done before is never done then."""
    file = tmp_path / "last.py"
    file.write_text(text, encoding="utf-8")
    for reductions in (NONE, frozenset(REDUCTIONS)):
        found = checking.explore_scenario(programs.read(file, {}, reductions), Options(engine=engine))
        assert set(found.outcomes) == {(0,), (1,)}


CONSTANTS = """
@struct
class Constants:
    fixed: u1

def peek() -> u1:
    return at(Constants, 0).fixed
"""
READS_LAST = (
    ANSWER
    + CONSTANTS
    + """
@thread()
def reader() -> None:
    at(Words, 0).own = 1
    at(Words, 0).last = 1
    x: u1 = peek()
"""
)
READS_BETWEEN = READS_LAST + "    at(Words, 0).own = x\n"
WATCHED = (
    ANSWER.replace("daemon,", "daemon, flag, on_return,")
    + CONSTANTS
    + """
@on_return(peek)
@ghost
def always_quiet() -> None:
    if at(Words, 0).own == 1 and at(Words, 0).last == 1:
        flag("seen_together")

@thread()
def program() -> None:
    at(Words, 0).own = 1
    x: u1 = peek()
    at(Words, 0).own = 0

@thread()
def other() -> None:
    if at(Words, 0).own == 1:
        at(Words, 0).last = 1
"""
)
TWO_FLAGS = (
    ANSWER.replace("daemon,", "daemon, flag,")
    + CONSTANTS
    + """
@thread()
def program() -> None:
    at(Words, 0).own = 1
    if peek() == 0:
        flag("first")

@thread()
def other() -> None:
    if at(Words, 0).own == 1:
        flag("second")
"""
)
CHOSEN = (
    ANSWER.replace("choose,", "choose, wait_until,")
    + CONSTANTS
    + """
@thread()
def program() -> None:
    n: u1 = choose(2)
    if n == 1 and peek() == 0:
        wait_until(at(Words, 0).own == 1)
    at(Words, 0).last = 1
"""
)
OWN_MEMORY = (
    ANSWER.replace("daemon,", "daemon, percpu, this_cpu,").split("@daemon")[0]
    + CONSTANTS
    + """
@percpu
class Own:
    word: u1

@daemon(cpu=0)
def interrupt() -> None:
    while True:
        if choose(2):
            if at(Words, 0).own == 1 and this_cpu(Own).word == 0:
                at(Words, 0).seen = 1

@thread(cpu=0)
def program() -> None:
    at(Words, 0).own = 1
    x: u1 = peek()
    this_cpu(Own).word = 1
    at(Words, 0).last = x
"""
)
REST = (
    ANSWER.replace("choose,", "choose, wait_until,")
    + CONSTANTS
    + """
@struct
class Answers:
    over: u1

@daemon(cpu=1)
def other() -> None:
    while True:
        wait_until(at(Words, 0).own == 1)
        at(Words, 0).own = 0
        wait_until(at(Answers, 0).over == 1)
        at(Words, 0).last = 1
        x: u1 = peek()

@thread()
def program() -> None:
    at(Words, 0).own = 1
    wait_until(at(Words, 0).own == 0)
    at(Answers, 0).over = 1
"""
)


BOTH = (
    ANSWER.replace("daemon,", "daemon, flag, param,").replace("u1\n\n@struct", "u1, u4\n\n@struct")
    + CONSTANTS
    + """
@struct
class Table:
    entry: u4

nr_Table = param("nr_Table", 3)

def setup() -> None:
    at(Table, 2).entry = 3

@thread()
def other() -> None:
    if at(Words, 0).own == 1 and at(Words, 0).last == 1:
        flag("second")
"""
)
NARROW_LOAD = (
    BOTH
    + """
@thread()
def program() -> None:
    n: u4 = choose(3)
    at(Words, 0).last = n // 2
    at(Words, 0).own = 1
    y: u1 = at(Table, n).entry
    at(Words, 0).seen = y
"""
)
NARROW_RESULT = (
    BOTH
    + """
def wide(n: u4) -> u4:
    at(Words, 0).own = 1
    x: u1 = peek()
    return n

@thread()
def program() -> None:
    n: u4 = choose(3)
    at(Words, 0).last = n // 2
    y: u1 = wide(n)
    at(Words, 0).seen = y
"""
)
LOOP = (
    BOTH
    + """
@thread()
def program() -> None:
    at(Words, 0).last = 1
    n: u1 = choose(2)
    at(Words, 0).own = 1
    while peek() == n:
        pass
    at(Words, 0).own = 0
"""
)


@pytest.mark.parametrize("text, flags, outcomes, more", [
    (READS_LAST, set(), {(0,)}, False),
    (READS_BETWEEN, set(), {(0,), (1,)}, True),
    (WATCHED, set(), {(0,), (1,)}, False),
    (TWO_FLAGS, {"first"}, set(), False),
    (CHOSEN, set(), {(0,)}, False),
    (OWN_MEMORY, set(), {(0,)}, False),
    (REST, set(), {(0,)}, False),
    (NARROW_LOAD, {"bad_kernel_state"}, {(0,)}, False),
    (NARROW_RESULT, {"bad_kernel_state"}, {(0,), (1,)}, False),
], ids=["end", "between", "hook", "flag", "choose", "own memory", "rest", "load", "result"])  # fmt: skip
@pytest.mark.parametrize("engine", checking.ENGINES)
def test_reading_what_nobody_writes_is_no_step(
    tmp_path: Path, engine: checking.EngineName, text: str, flags: set[str], outcomes: set[tuple[int]], more: bool
) -> None:
    """No such read may be a step of its own where somebody could tell, and none be left merged for good elsewhere."""
    file = tmp_path / "constants.py"
    file.write_text(text, encoding="utf-8")
    states = []
    for reductions in (NONE | {"constant"}, NONE, frozenset(REDUCTIONS) - {"constant"}, frozenset(REDUCTIONS)):
        found = checking.explore_scenario(programs.read(file, {}, reductions), Options(engine=engine))
        assert (set(found.flags), set(found.outcomes)) == (flags, outcomes)
        states.append(found.states)
    assert (states[0] < states[1]) == more


LATE = (
    ANSWER.split("@daemon")[0].replace("ghost,", "ghost, reach,")
    + """
@thread()
def program() -> None:
    at(Words, 0).own = 1
    at(Words, 0).last = 1

@daemon(cpu=0)
def interrupt() -> None:
    while True:
        if choose(2):
            if at(Words, 0).last == 1:
                reach("late")
            elif at(Words, 0).own == 1:
                reach("before")
"""
)


@pytest.mark.parametrize("engine", checking.ENGINES)
def test_nothing_happens_when_the_run_is_over(tmp_path: Path, engine: checking.EngineName) -> None:
    """A situation must not be noted, nor a line called executed, where hardware may do nothing any more."""
    file = tmp_path / "late.py"
    file.write_text(LATE, encoding="utf-8")
    line = LATE.split("\n").index('                reach("late")') + 1
    for reductions in (NONE, None):
        found = checking.explore_scenario(programs.read(file, {}, reductions), Options(engine=engine, coverage=True))
        assert found.reached == {"before"} and ("late.py", line) not in found.covered
        assert engine == "machine" or ("late.py", line + 2) in found.covered  # which the native engine alone notes


@pytest.mark.parametrize("engine", checking.ENGINES)
def test_a_read_before_a_loop_is_no_step(
    tmp_path: Path, engine: checking.EngineName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor may it be one in a loop or before: the flag of the loop would come later, or never."""
    monkeypatch.setattr(link, "ROUNDS_MAX", 1000)
    file = tmp_path / "loop.py"
    file.write_text(LOOP, encoding="utf-8")
    for reductions in (NONE, frozenset(REDUCTIONS) - {"constant"}, frozenset(REDUCTIONS)):
        found = checking.explore_scenario(programs.read(file, {}, reductions), Options(engine=engine))
        assert set(found.flags) == {"bad_kernel_state", "second"}
