# SPDX-License-Identifier: GPL-2.0-only
"""Symmetry: like threads are found where they are alike, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptelab import checking, ir, programs, search
from ptelab.checking import Options
from ptelab.exploration import Exploration
from ptelab.ir import At, Bin, Block, Branch, Const, Field, Jump, Place, Return, Self, Struct, Type, Var
from ptelab.machine import Machine
from ptelab.native.engine import Engine
from ptelab.reduce import NONE, REDUCTIONS, chosen
from ptelab.scenario import Scenario, Thread
from ptelab.trace import record

BENCH = Path(__file__).parents[1] / "bench"
AT = At("alike.py", 1)
U2, N, BOOL = Type("int", 3), Type("int", 7), Type("bool")
VARS = {"a": U2, "b": U2, "n": N, "m": N, "i": N, "p": BOOL}
LIKE = 3
ME, OTHER = Self("thread"), Var("n")
STRUCTS = {
    "G": Struct("G", "shared", (
        Field("x", (("", U2),)), Field("by", (("", N),), count=LIKE + 1),
        Field("lock", (("", N),), lock="spinlock"), Field("rw", (("", N),), lock="rwsem"),
    ), AT),
    "T": Struct("T", "shared", (Field("t", (("", U2),)), Field("seen", (("", BOOL),), ghost=True)), AT),
    "C": Struct("C", "cpu", (Field("own", (("", U2),), count=LIKE + 1), Field("of", (("", U2),))), AT),
}  # fmt: skip
LOCK, RW = Place("G", "lock", Const(1)), Place("G", "rw", Const(1))
ON_CPU = Place("C", "of", Bin("+", Self("cpu"), Const(1)))


def x() -> Place:
    return Place("G", "x", Const(1))


def of(who: ir.Expr) -> Place:
    return Place("T", "t", Bin("+", who, Const(1)))


def entry(who: ir.Expr) -> Place:
    return Place("G", "by", Const(1), who)


def own(who: ir.Expr) -> Place:
    return Place("C", "own", Const(1), who)


LOCKED: list[tuple[Any, Any, Place]] = [
    ("", "", LOCK), ("spin_lock", "spin_unlock", LOCK), ("down_read", "up_read", RW), ("down_write", "up_write", RW),
]  # fmt: skip
numbers = st.sampled_from([Const(0), Const(1), Const(2), Var("a"), Var("b")])
who = st.sampled_from([ME, ME, ME, OTHER])
alike = st.one_of(
    st.builds(lambda v: ir.Store(AT, x(), (v,)), numbers),
    st.builds(lambda: ir.Load(AT, ("a",), x())),
    st.builds(lambda w, v: ir.Store(AT, of(w), (v,)), who, numbers),
    st.builds(lambda w: ir.Load(AT, ("b",), of(w)), who),
    st.builds(lambda w, v: ir.Store(AT, own(w), (v,)), who, numbers),
    st.builds(lambda w: ir.Load(AT, ("a",), own(w)), who),
    st.builds(lambda v: ir.Atomic(AT, "or", (), x(), (v,)), numbers),
    st.builds(lambda v: ir.Wait(AT, (), ("b",), x(), Bin("!=", Var("b"), v)), st.sampled_from([Const(0), Const(3)])),
    st.builds(lambda c: ir.Choose(AT, "n", Const(c)), st.sampled_from([LIKE, LIKE + 1])),
    st.builds(lambda: ir.Assign(AT, "p", Bin("==", OTHER, ME))),
    st.builds(lambda: ir.Assign(AT, "p", Bin("<", OTHER, Const(LIKE)))),
    st.builds(lambda: ir.Reach(AT, "here")),
    st.builds(lambda: ir.Lock(AT, "spin_trylock", "p", LOCK)),
    st.builds(lambda: ir.Lock(AT, "down_read_trylock", "p", RW)),
    st.builds(lambda v: ir.Store(AT, ON_CPU, (v,)), numbers),
    st.builds(lambda: ir.Load(AT, ("b",), ON_CPU)),
)
different = st.one_of(
    st.builds(lambda: ir.Store(AT, entry(Const(0)), (ME,))),
    st.builds(lambda: ir.Assign(AT, "p", Bin("<", OTHER, ME))),
    st.builds(lambda: ir.Assign(AT, "p", Bin("==", ME, Const(1)))),
    st.builds(lambda: ir.Choose(AT, "n", Const(2))),
    st.builds(lambda: ir.Assign(AT, "a", Bin("&", ME, Const(1)))),
    st.builds(lambda: ir.Store(AT, entry(ME), (ME,))),
    st.builds(lambda v: ir.Store(AT, of(Const(1)), (v,)), numbers),
)


def function(name: str, blocks: list[Block], results: tuple[Type, ...] = (), ghost: bool = False) -> ir.Function:
    return ir.Function(name, (), results, dict(VARS), blocks, ghost, AT)


@st.composite
def scenarios(draw: st.DrawFn, mixed: bool = True) -> Scenario:
    """Three like threads and another, which mostly do not look at who they are."""
    statement = st.one_of(alike, alike, alike, alike, alike, alike, different) if mixed else alike
    module = ir.Module(dict(STRUCTS))

    def body(name: str) -> None:
        cond = draw(st.sampled_from([Var("p"), Bin("==", Var("a"), Const(1)), Bin("==", OTHER, ME)]))
        first, second = draw(st.lists(statement, min_size=1, max_size=3)), draw(st.lists(statement, max_size=2))
        op, end, lock = draw(st.sampled_from(LOCKED))
        if op:
            first = [ir.Lock(AT, op, None, lock), *first, ir.Lock(AT, end, None, lock)]
        module.functions[name] = function(name, [
            Block([ir.Load(AT, ("a",), x()), *first], Branch(AT, cond, 1, 2)), Block(second, Jump(AT, 2)),
            Block([], Return(AT, ())),
        ])  # fmt: skip

    body("like")
    body("other")
    more = Bin("<", Bin("+", Var("i"), Const(1)), Const(LIKE))
    check: list[ir.Stmt] = [ir.Load(AT, ("b",), Place("T", "t", Bin("+", Var("i"), Const(1))))]
    flag: list[ir.Stmt] = [ir.Flag(AT, "differs", (("i", N, Var("i")),))]
    module.functions["final"] = function("final", [
        Block([ir.Load(AT, ("a",), x()), ir.Assign(AT, "i", Const(0))], Jump(AT, 1)),
        Block(check, Branch(AT, Bin("==", Var("b"), draw(st.sampled_from([Const(2), Var("a")]))), 2, 3)),
        Block(flag, Jump(AT, 3)), Block([], Branch(AT, more, 4, 5)),
        Block([ir.Assign(AT, "i", Bin("+", Var("i"), Const(1)))], Jump(AT, 1)),
        Block([], Return(AT, (Var("a"),))),
    ], (U2,), True)  # fmt: skip
    module.functions["setup"] = function("setup", [Block([], Return(AT, ()))])
    spread = draw(st.booleans())
    threads = [Thread(f"like{n}", "like", n * spread) for n in range(LIKE)]
    threads.append(Thread("other", "other", LIKE * spread))
    params = {"nr_G": 1, "nr_T": LIKE + 1, "NR_CPUS": 1 + LIKE * spread, "NR_THREADS": LIKE + 1}
    return Scenario("alike", module, params, tuple(threads), observed=("x",))


STATES_MAX = 4000
random_programs = settings(
    max_examples=60, derandomize=True, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)  # fmt: skip


def machine(scenario: Scenario, names: frozenset[str]) -> Machine:
    scenario.reductions = names
    return Machine(scenario)


@random_programs
@given(scenarios(), st.booleans())
def test_symmetry_keeps_the_answer(scenario: Scenario, others: bool) -> None:
    """Symmetry may not lose or add an outcome, a flag or a situation, nor show a run that is none."""
    full = search.explore(machine(scenario, NONE), states_max=STATES_MAX)
    if not full.complete:
        return
    names = frozenset(REDUCTIONS) if others else NONE | {"symmetry"}
    reduced = search.explore(machine(scenario, names))
    assert set(reduced.outcomes) == set(full.outcomes)
    assert set(reduced.flags) == set(full.flags)
    assert reduced.reached == full.reached
    assert reduced.states <= full.states
    for outcome, choices in reduced.outcomes.items():
        assert record(machine(scenario, names), choices).outcome == outcome
    for flag, choices in reduced.flags.items():
        raised = record(machine(scenario, names), choices).flag
        assert flag == "deadlock" or (raised is not None and raised.name == flag)


def counts(found: Exploration) -> tuple[object, ...]:
    runs = {k: len(v) for k, v in found.outcomes.items()}, {k: len(v) for k, v in found.flags.items()}
    return found.states, found.transitions, found.depth, runs, found.reached


@random_programs
@given(scenarios(mixed=False), st.sets(st.sampled_from(sorted(REDUCTIONS))), st.integers(0, 2))
def test_the_engines_sort_alike(scenario: Scenario, names: set[str], grouped: int) -> None:
    """The native engine must not take another state for the one that stands for all."""
    names |= {"symmetry"}
    reference = search.explore(machine(scenario, frozenset(names)), states_max=STATES_MAX)
    if reference.complete:
        native = Engine(machine(scenario, frozenset(names)), 1, 1 << 28, grouped).run()
        assert counts(native) == counts(reference)


@pytest.mark.parametrize("managers, states", [(3, 80), (5, 314), (8, 1_461), (9, 2_232)])
def test_two_phase_commit_has_the_known_number_of_states(managers: int, states: int) -> None:
    """No state may be lost, and of no two that differ in names only may both be kept."""
    scenario = programs.read(BENCH / "two_phase_commit.py", {"nr_Manager": managers}, NONE | {"symmetry"})
    found = checking.explore_scenario(scenario, Options(memory_bytes=1 << 30))
    assert (found.states, found.flags, set(found.outcomes)) == (states, {}, {(0,), (1,)})


@pytest.mark.parametrize("old, new, why", [
    ("", "", ""),
    ("        this_cpu(Own).count += 1\n", "        this_cpu(Own).count = what\n", "holds a thread's number"),
    ("            wait_until(at(Coordinator, 0).decision == Decision.ABORT)\n",
     "            wait_until(at(Coordinator, 0).decision == Decision.ABORT and thread_id() > 0)\n", "ordered"),
    ("    what: u4 = choose(nr(Manager) + 1 + all_heard)\n", "    what: u4 = choose(nr(Manager)) + 1\n", "chosen"),
    ("per_cpu(Own, 0).committed[i] != committed", "per_cpu(Own, 0).committed[i] != committed or i == 1", "named"),
    ("    what: u4 = choose(nr(Manager) + 1 + all_heard)\n",
     "    what: Annotated[int, upto(1)] = choose(nr(Manager) + 1 + all_heard)\n", "cannot hold each"),
    ("    for i in range(nr(Manager)):\n        if per_cpu(Own, 0).committed[i] != committed:\n",
     "    i: u4 = 0\n    for each in pool(Manager):\n        if committed and not each.prepared:\n", ""),
    ("    return committed\n", "    return committed or at(Manager, thread_id()).prepared\n", "is named"),
    ("for i in range(nr(Manager)):", "for i in range(2):", "not over all of them"),
])  # fmt: skip
def test_what_is_not_alike_is_refused(old: str, new: str, why: str, tmp_path: Path) -> None:
    """Threads that anything tells apart must not be taken for each other."""
    text = (BENCH / "two_phase_commit.py").read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "commit.py"
    text = text.replace("import IntEnum", "import IntEnum\nfrom typing import Annotated")
    text = text.replace("    u4,\n", "    pool,\n    u4,\n    upto,\n")
    file.write_text(text.replace(old, new) if old else text, encoding="utf-8")
    told = Machine(programs.read(file, {}, chosen(True))).told_symmetry()
    assert told.startswith("manager0 to manager2 are alike" if not why else "none: ")
    assert why in told


def test_a_stopped_run_goes_on_among_sorted_states(tmp_path: Path) -> None:
    """A run that is stopped again and again must end with the states of one that never was."""
    scenario = programs.read(BENCH / "two_phase_commit.py", {"nr_Manager": 8}, NONE | {"symmetry"})
    stops = 0
    while True:
        part = Engine(Machine(scenario), 2, 1 << 28)
        part.checkpoints, part.resume = tmp_path, True
        calls = count(1)

        def interrupt(progress: object, part: Engine = part, calls: Iterator[int] = calls) -> None:
            part._interrupted = next(calls) >= 7

        found = part.run(progress=interrupt)
        if found.complete:
            break
        stops += 1
    assert (found.states, found.transitions, found.depth) == (1_461, 9_772, 25) and stops > 2
