# SPDX-License-Identifier: GPL-2.0-only
"""The two engines, and every reduction on and off, on small random programs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptelab import ir, link
from ptelab.exploration import Exploration, format_choices, parse_choices
from ptelab.ir import At, Bin, Block, Branch, Const, Field, Jump, Place, Return, Self, Struct, Type, Var
from ptelab.machine import Machine
from ptelab.native import engine, store
from ptelab.native.engine import Engine
from ptelab.reduce import REDUCTIONS
from ptelab.scenario import Scenario, Thread
from ptelab.search import explore
from ptelab.trace import record

AT = At("random.py", 1)
U2, U3, BOOL = Type("int", 3), Type("int", 7), Type("bool")
HANDLE, STACK = Type("ptr", struct="G"), Type("ptr", struct="S")
VARS = {"a": U3, "b": U3, "c": U3, "p": BOOL, "q": U2, "h": HANDLE, "s": STACK}
STRUCTS = {
    "G": Struct("G", "shared", (
        Field("x", (("", U3),)), Field("y", (("", U3),)), Field("fixed", (("", U2),)),
        Field("pte", (("present", BOOL), ("pfn", U2)), count=2),
        Field("table", (("", U2),), count=2), Field("lock", (("", U3),), lock="spinlock"), Field("seen", (("", BOOL),), ghost=True),
    ), AT),
    "M": Struct("M", "shared", (Field("rw", (("", U3),), lock="rwsem"), Field("z", (("", U3),))), AT),
    "C": Struct("C", "cpu", (Field("t", (("", U2),)),), AT),
    "S": Struct("S", "stack", (Field("v", (("", U3),), count=3),), AT),
}  # fmt: skip
OWN = Place("C", "t", Bin("+", Self("cpu"), Const(1)))
ONE = Const(1)


def g(member: str, index: ir.Expr | None = None, handle: ir.Expr = ONE) -> Place:
    return Place("G", member, handle, index)


def m(member: str) -> Place:
    return Place("M", member, ONE)


small = st.integers(0, 3).map(Const)
values = st.one_of(small, st.sampled_from([Var("a"), Var("b"), Var("q")]))
bits = st.one_of(st.sampled_from([Const(0), ONE]), st.just(Var("p")))
sums = st.builds(lambda a, b: Bin("&", Bin("+", a, b), Const(7)), values, values)
handles = st.sampled_from([ONE, ONE, Const(2), Var("h")])
slots = st.builds(lambda b, h: g("pte", b, h), bits, handles)
words = st.one_of(
    st.builds(lambda f, h: g(f, None, h), st.sampled_from(["x", "y"]), handles),
    st.just(m("z")),
)

plain = st.one_of(
    st.builds(lambda d, v: ir.Assign(AT, d, v), st.sampled_from(["a", "b"]), sums),
    st.builds(lambda v: ir.Assign(AT, "h", v), st.sampled_from([ONE, Const(2), Const(1)])),
    st.builds(lambda p: ir.Load(AT, ("a",), p), words),
    st.builds(lambda h: ir.Load(AT, ("q",), g("fixed", None, h)), handles),
    st.builds(lambda p, v: ir.Store(AT, p, (v,)), words, sums),
    st.builds(lambda p: ir.Load(AT, ("p", "q"), p), slots),
    st.builds(lambda p, b, v: ir.Store(AT, p, (b, Bin("&", v, Const(3)))), slots, bits, values),
    st.builds(lambda p, v: ir.Atomic(AT, "add", ("b",), p, (v,)), words, small),
    st.builds(lambda p, v: ir.Atomic(AT, "or", (), p, (v,)), words, small),
    st.builds(lambda p, v: ir.Atomic(AT, "andnot", ("a",), p, (v,)), words, small),
    st.builds(lambda p, b: ir.Atomic(AT, "xchg", ("p", "q"), p, (b, ONE)), slots, bits),
    st.builds(
        lambda p, b: ir.Atomic(AT, "cmpxchg", ("p", "q"), p, (Var("p"), Var("q"), b, Const(2))), slots, bits
    ),
    st.builds(lambda n: ir.Choose(AT, "a", n), st.sampled_from([ONE, Const(2), Const(3)])),
    st.builds(lambda v: ir.Store(AT, OWN, (Bin("&", v, Const(3)),)), values),
    st.builds(lambda: ir.Load(AT, ("q",), OWN)),
    st.builds(lambda i, v: ir.Store(AT, Place("S", "v", Var("s"), i), (v,)), bits, values),
    st.builds(lambda i: ir.Load(AT, ("b",), Place("S", "v", Var("s"), i)), bits),
    st.builds(lambda: ir.Lock(AT, "spin_trylock", "p", g("lock"))),
    st.builds(lambda: ir.Lock(AT, "down_read_trylock", "p", m("rw"))),
    st.builds(lambda p, v: ir.Wait(AT, (ir.Load(AT, ("q",), OWN),), ("b",), p, Bin("<=", Var("b"), Const(6))), words, small),
    st.builds(lambda: ir.Reach(AT, "here")),
    st.builds(lambda v: ir.Call(AT, ("b",), "helper", (v,)), values),
    st.builds(lambda: ir.Call(AT, (), "watch", ())),
    st.builds(lambda v: ir.Call(AT, (), "check", (v,)), values),
)  # fmt: skip


@st.composite
def stmts(draw: st.DrawFn) -> list[ir.Stmt]:
    """A run of statements, sometimes under a lock."""
    body: list[ir.Stmt] = draw(st.lists(plain, min_size=1, max_size=3))
    match draw(st.integers(0, 3)):
        case 0:
            asserted: list[ir.Stmt] = [ir.AssertHeld(AT, g("lock"), "held")]
            body = [
                ir.Lock(AT, "spin_lock", None, g("lock")),
                *body,
                *asserted,
                ir.Lock(AT, "spin_unlock", None, g("lock")),
            ]
        case 1:
            body = [ir.Lock(AT, "down_write", None, m("rw")), *body, ir.Lock(AT, "up_write", None, m("rw"))]
        case 2:
            body = [ir.Lock(AT, "down_read", None, m("rw")), *body, ir.Lock(AT, "up_read", None, m("rw"))]
    return body


def function(
    name: str, params: tuple[str, ...], results: tuple[Type, ...], blocks: list[Block], ghost: bool = False
) -> ir.Function:
    return ir.Function(name, params, results, dict(VARS), blocks, ghost, AT)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Two or three programs, perhaps a daemon, over a few members."""
    module = ir.Module(dict(STRUCTS))
    no_calls = st.lists(plain.filter(lambda s: not isinstance(s, ir.Call) and "s" not in map(str, ())), max_size=2)
    helper = [s for s in draw(no_calls) if not any(p.struct == "S" for p in ir.places(s))]
    module.functions["helper"] = function("helper", ("a",), (U3,), [Block(helper, Return(AT, (Var("a"),)))])
    watch: list[ir.Stmt] = [
        ir.Load(AT, ("a",), g("x")), ir.Load(AT, ("b",), m("z")),
        ir.Store(AT, g("seen"), (Bin(">", Var("a"), Var("b")),)),
    ]  # fmt: skip
    flagged: list[ir.Stmt] = [ir.Flag(AT, "invariant", (("a", U3, Var("a")),))]
    module.functions["watch"] = function("watch", (), (), [
        Block(watch, Branch(AT, Bin("==", Bin("+", Var("a"), Var("b")), Const(9)), 1, 2)),
        Block(flagged, Jump(AT, 2)), Block([], Return(AT, ())),
    ], True)  # fmt: skip
    checked: list[ir.Stmt] = [ir.Flag(AT, "wrong", ())]
    module.functions["check"] = function("check", ("a",), (), [  # reads what nobody writes, and may raise a flag
        Block([ir.Load(AT, ("q",), g("fixed"))], Branch(AT, Bin("==", Var("a"), Var("q")), 1, 2)),
        Block(checked, Jump(AT, 2)), Block([], Return(AT, ())),
    ])  # fmt: skip
    turn: list[ir.Stmt] = [ir.Assign(AT, "b", Bin("&", Bin("+", Var("b"), draw(small)), Const(7)))]
    again = Bin(draw(st.sampled_from(["<", "!="])), Var("b"), Var("a"))
    module.functions["turns"] = function("turns", ("a",), (U3,), [  # no step, and perhaps no end
        Block([], Jump(AT, 1)), Block(turn, Branch(AT, again, 1, 2)), Block([], Return(AT, (Var("b"),))),
    ])  # fmt: skip
    count = draw(st.integers(2, 3))
    threads = []
    for n in range(count):
        cond = Bin(draw(st.sampled_from(["<", "==", ">="])), draw(values), draw(small))
        made: list[ir.Stmt] = [ir.New(AT, "s", "S"), ir.Assign(AT, "h", ONE)]
        back = draw(st.booleans())
        first, second = draw(stmts()), (draw(stmts()) if count == 2 else [])
        if draw(st.integers(0, 3)) == 0:
            first.insert(draw(st.integers(0, len(first))), ir.Call(AT, ("a",), "turns", (draw(values),)))
        if back and draw(st.booleans()):  # else it may be a loop that no stop interrupts
            first = [*first, ir.Choose(AT, "a", ONE)]
        loop = Branch(AT, cond, 1, 2) if back else Branch(AT, cond, 2, 3)
        module.functions[f"P{n}"] = function(f"P{n}", (), (), [
            Block(made, Jump(AT, 1)), Block(first, loop), Block(second, Jump(AT, 3)), Block([], Return(AT, ())),
        ])  # fmt: skip
        threads.append(Thread(f"P{n}", f"P{n}", n))
    for n in range(draw(st.integers(0, 2))):
        body: list[ir.Stmt] = [ir.Choose(AT, "a", Const(2)), *draw(st.lists(plain, max_size=2))]
        body = [s for s in body if not any(p.struct == "S" for p in ir.places(s))]
        module.functions[f"D{n}"] = function(f"D{n}", (), (), [Block([], Jump(AT, 1)), Block(body, Jump(AT, 1))])
        threads.append(Thread(f"D{n}", f"D{n}", n, daemon=True))
    module.functions["setup"] = function("setup", (), (), [
        Block([ir.Store(AT, g("fixed"), (Const(2),)), ir.Store(AT, m("z"), (ONE,))], Return(AT, ()))
    ])  # fmt: skip
    module.functions["final"] = function("final", (), (U3, U3, U2), [
        Block([ir.Load(AT, ("a",), g("x")), ir.Load(AT, ("b",), m("z")), ir.Load(AT, ("p", "q"), g("pte", Const(0)))],
              Return(AT, (Var("a"), Var("b"), Var("q"))))
    ], True)  # fmt: skip
    params = {"nr_G": 2, "nr_M": 1, "NR_CPUS": count, "NR_THREADS": len(threads)}
    return Scenario("random", module, params, tuple(threads))


@st.composite
def graphs(draw: st.DrawFn) -> Scenario:
    """Programs of many blocks that meet again, with values that are kept over stops, calls and branches."""
    module = ir.Module(dict(STRUCTS))
    held = st.sampled_from([Var("a"), Var("b"), Var("c")])
    known = st.one_of(
        st.builds(lambda v: ir.Assign(AT, "c", v), st.sampled_from([Const(0), ONE])),
        st.builds(lambda v: ir.Assign(AT, "h", v), st.sampled_from([ONE, Const(2)])),
        st.builds(lambda d, v: ir.Assign(AT, d, v), st.sampled_from(["a", "b"]), st.one_of(held, small, sums)),
    )
    handle = st.sampled_from([ONE, Const(2), Var("h"), Var("h")])
    access = st.one_of(
        st.builds(lambda f, v: ir.Store(AT, g(f), (v,)), st.sampled_from(["x", "y"]), held),
        st.builds(lambda f, v: ir.Load(AT, (v,), g(f)), st.sampled_from(["x", "y"]), st.sampled_from(["a", "b"])),
        st.builds(lambda h: ir.Load(AT, ("p", "q"), g("pte", Var("c"), h)), handle),
        st.builds(lambda h, v: ir.Store(AT, g("pte", Var("c"), h), (Var("p"), Bin("&", v, Const(3)))), handle, held),
        st.builds(lambda v: ir.Call(AT, ("b",), "deep", (v, Var("c"))), held),
    )
    local = st.one_of(
        st.builds(lambda h: ir.Load(AT, ("q",), g("table", Var("c"), h)), handle),
        st.builds(lambda v: ir.Call(AT, ("a", "b"), "two", (v,)), held),
        st.builds(lambda v: ir.Call(AT, ("a", "b"), "small", (v, Var("b"))), held),
        st.builds(lambda: ir.Call(AT, (), "watch", ())),
    )
    stmt = st.one_of(known, access, access, local)

    def blocks(count: int, result: tuple[ir.Expr, ...]) -> list[Block]:
        made = []
        for n in range(count - 1):
            later = st.integers(n + 1, count - 1)
            cond = Bin(draw(st.sampled_from(["<", "==", ">="])), draw(values), draw(small))
            term = Branch(AT, cond, draw(later), draw(later)) if draw(st.booleans()) else Jump(AT, draw(later))
            made.append(Block(draw(st.lists(stmt, min_size=2, max_size=5)), term))
        return [*made, Block([], Return(AT, result))]

    a, b = Var("a"), Var("b")
    module.functions["small"] = function(
        "small", ("a", "b"), (U3, U3), [Block([ir.Assign(AT, "q", b)], Return(AT, (b, a)))]
    )
    module.functions["two"] = function("two", ("a",), (U3, U3), [
        Block([ir.Load(AT, ("b",), g("fixed"))], Branch(AT, Bin("<", a, b), 1, 2)),
        Block([ir.Call(AT, ("b", "a"), "small", (a, ONE))], Jump(AT, 2)), Block([], Return(AT, (b, a))),
    ])  # fmt: skip
    module.functions["deep"] = function("deep", ("a", "c"), (U3,), [
        Block([ir.Load(AT, ("b",), g("x"))], Branch(AT, Bin("<", a, b), 1, 2)),
        Block([ir.Store(AT, g("y"), (a,))], Jump(AT, 2)),
        Block([ir.Load(AT, ("p", "q"), g("pte", Bin("&", Var("c"), ONE)))], Return(AT, (Bin("&", Bin("+", a, b), Const(3)),))),
    ])  # fmt: skip
    module.functions["watch"] = function(
        "watch", (), (), [Block([ir.Store(AT, g("seen"), (ONE,))], Return(AT, ()))], True
    )
    threads = []
    for n in range(2):
        graph = blocks(draw(st.integers(2, 5)), ())
        graph[0].stmts.insert(0, ir.Assign(AT, "h", ONE))
        module.functions[f"P{n}"] = function(f"P{n}", (), (), graph)
        threads.append(Thread(f"P{n}", f"P{n}", n))
    module.functions["setup"] = function("setup", (), (), [
        Block([ir.Store(AT, g("fixed"), (Const(2),)), ir.Store(AT, g("table", ONE), (Const(3),))], Return(AT, ()))
    ])  # fmt: skip
    module.functions["final"] = function("final", (), (U3, U3, U2), [
        Block([ir.Load(AT, ("a",), g("x")), ir.Load(AT, ("b",), g("y")), ir.Load(AT, ("p", "q"), g("pte", ONE))],
              Return(AT, (a, b, Var("q"))))
    ], True)  # fmt: skip
    params = {"nr_G": 2, "nr_M": 1, "NR_CPUS": 2, "NR_THREADS": 2}
    return Scenario("graphs", module, params, tuple(threads))


@st.composite
def tails(draw: st.DrawFn) -> Scenario:
    """Short programs with reads of what nobody writes just before what others notice: hooks, flags, ends, CPUs' own."""
    module = ir.Module(dict(STRUCTS))
    two = st.sampled_from([Const(0), ONE])
    shared = st.sampled_from([g("x"), g("y")])
    read = st.builds(lambda h: ir.Load(AT, ("q",), g("fixed", None, h)), st.sampled_from([ONE, ONE, Var("h")]))
    access = st.one_of(
        st.builds(lambda p, v: ir.Store(AT, p, (v,)), shared, two),
        st.builds(lambda p: ir.Load(AT, ("a",), p), shared),
        st.builds(lambda p: ir.Store(AT, p, (Var("a"),)), shared),
    )
    local = st.one_of(
        st.builds(lambda n, v: ir.Call(AT, (), n, (v,)), st.sampled_from(["watch", "check"]), two),
        st.builds(lambda v: ir.Store(AT, OWN, (v,)), two),
        st.builds(lambda: ir.Load(AT, ("a",), OWN)),
        st.builds(lambda v: ir.Assign(AT, "h", v), st.sampled_from([ONE, Var("a")])),
        st.builds(lambda: ir.Reach(AT, "here")),
    )
    one = st.one_of(access, read, read, local)
    module.functions["check"] = function("check", ("b",), (), [
        Block([], Branch(AT, Bin("==", Var("b"), ONE), 1, 2)),
        Block([ir.Flag(AT, "wrong", ())], Jump(AT, 2)), Block([], Return(AT, ())),
    ])  # fmt: skip
    module.functions["watch"] = function("watch", ("b",), (), [
        Block([ir.Load(AT, ("a",), draw(shared))], Branch(AT, Bin("==", Var("a"), Var("b")), 1, 2)),
        Block([ir.Flag(AT, "invariant", ())], Jump(AT, 2)), Block([], Return(AT, ())),
    ], True)  # fmt: skip
    threads = []
    for n in range(2):
        body = [ir.Assign(AT, "h", ONE), *draw(st.lists(one, min_size=2, max_size=4))]
        other = draw(st.lists(one, max_size=2))
        module.functions[f"P{n}"] = function(f"P{n}", (), (), [
            Block(body, Branch(AT, Bin("==", Var("a"), ONE), 1, 2)), Block(other, Jump(AT, 2)), Block([], Return(AT, ())),
        ])  # fmt: skip
        threads.append(Thread(f"P{n}", f"P{n}", n))
    for n in range(draw(st.integers(0, 2))):
        body = draw(st.lists(st.one_of(access, read, local), min_size=1, max_size=3))
        first = draw(st.sampled_from([[], [ir.Choose(AT, "p", Const(2))], [ir.Load(AT, ("q",), g("fixed"))]]))
        body = [*first, *body, ir.Choose(AT, "p", Const(2))]
        module.functions[f"D{n}"] = function(f"D{n}", (), (), [Block([], Jump(AT, 1)), Block(body, Jump(AT, 1))])
        threads.append(Thread(f"D{n}", f"D{n}", n, daemon=True))
    module.functions["setup"] = function("setup", (), (), [
        Block([ir.Store(AT, g("fixed"), (draw(two),))], Return(AT, ()))
    ])  # fmt: skip
    module.functions["final"] = function("final", (), (U3, U3), [
        Block([ir.Load(AT, ("a",), g("x")), ir.Load(AT, ("b",), g("y"))], Return(AT, (Var("a"), Var("b"))))
    ], True)  # fmt: skip
    params = {"nr_G": 2, "nr_M": 1, "NR_CPUS": 2, "NR_THREADS": len(threads)}
    return Scenario("tails", module, params, tuple(threads))


@pytest.fixture(scope="module", autouse=True)
def few_rounds() -> Iterator[None]:
    """Loops without a stop are given up soon enough for how often exactly to matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link, "ROUNDS_MAX", 6)
        yield


STATES_MAX = 3000
random_programs = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def with_reductions(scenario: Scenario, names: frozenset[str]) -> Machine:
    scenario.reductions = names
    return Machine(scenario)


def lengths(found: Exploration) -> tuple[object, ...]:
    """All that must be equal, with the lengths of the runs (which run is shown may differ)."""
    outcomes = {outcome: len(run) for outcome, run in found.outcomes.items()}
    flags = {flag: len(run) for flag, run in found.flags.items()}
    return found.states, found.transitions, found.depth, outcomes, flags, found.reached


@pytest.fixture(scope="module", params=["roomy", "cramped", "high"])
def tables(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tables as they are; so small at first that each of them grows many times; codes that need their high bits."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "cramped":
            patch.setattr(engine, "PARALLEL_LEVEL", 4)
            for name, value in CRAMPED.items():
                patch.setattr(store, name, value)
        if request.param == "high":
            patch.setattr(store, "CODE_BITS", 12)
        yield


CRAMPED = {
    "SLOTS_MIN": 256, "SLICE": 64, "INDEX_MIN": 4, "MEMO_BITS_MIN": 2, "PIPE_MIN": 1, "SHARED_BITS": 1, "OWN_BITS": 1,
}  # fmt: skip


@random_programs
@given(
    st.one_of(scenarios(), graphs()),
    st.sets(st.sampled_from(sorted(REDUCTIONS))),
    st.sampled_from([1, 2]),
    st.integers(0, 2),
)
def test_engines_agree(tables: None, scenario: Scenario, names: set[str], threads: int, groups: int) -> None:
    """The native engine must not differ from the reference machine in any state, count, outcome or flag."""
    reference = explore(with_reductions(scenario, frozenset(names)), states_max=STATES_MAX)
    if reference.complete:
        native = Engine(with_reductions(scenario, frozenset(names)), threads, 1 << 28, groups).run()
        assert lengths(native) == lengths(reference)


@pytest.mark.parametrize("read", [g("table", Var("c")), g("fixed", None, Var("h"))], ids=["index", "handle"])
def test_a_variable_that_is_known_is_within_bounds(read: Place) -> None:
    """An index or a handle that fits must raise no flag because its type allows more."""
    module = ir.Module(dict(STRUCTS))
    body: list[ir.Stmt] = [
        ir.Store(AT, g("x"), (ONE,)), ir.Assign(AT, "c", Const(0)), ir.Assign(AT, "h", ONE), ir.Load(AT, ("q",), read),
        ir.Store(AT, g("y"), (Var("q"),)),
    ]  # fmt: skip
    filled: list[ir.Stmt] = [ir.Store(AT, g("table", Const(0)), (ONE,)), ir.Store(AT, g("fixed"), (ONE,))]
    module.functions["P0"] = function("P0", (), (), [Block(body, Return(AT, ()))])
    module.functions["setup"] = function("setup", (), (), [Block(filled, Return(AT, ()))])
    module.functions["final"] = function("final", (), (U3,), [
        Block([ir.Load(AT, ("a",), g("y"))], Return(AT, (Var("a"),)))
    ], True)  # fmt: skip
    params = {"nr_G": 2, "nr_M": 1, "NR_CPUS": 1, "NR_THREADS": 1}
    scenario = Scenario("known", module, params, (Thread("P0", "P0", 0),))
    found = Engine(with_reductions(scenario, frozenset(REDUCTIONS)), 1, 1 << 28).run()
    assert (set(found.outcomes), found.flags) == ({(1,)}, {})


@settings(random_programs, max_examples=25)
@given(scenarios(), st.lists(st.integers(1, 12), min_size=2, max_size=3), st.integers(0, 2))
def test_a_stopped_run_goes_on(tables: None, scenario: Scenario, stops: list[int], groups: int) -> None:
    """A run that is stopped again and again must end like one that never was."""
    reference = Engine(with_reductions(scenario, frozenset()), 1, 1 << 28, groups).run(time_s=20)
    with TemporaryDirectory() as place:
        for number, stop in enumerate([*stops, 1 << 30]):
            part = Engine(with_reductions(scenario, frozenset()), 1 + number % 2, 1 << 28, groups)
            part.checkpoints, part.resume = Path(place), True
            calls = itertools.count(1)

            def interrupt(progress: engine.Progress, part: Engine = part, calls=calls, stop=stop) -> None:  # type: ignore[no-untyped-def]
                part._interrupted = next(calls) >= stop

            found = part.run(progress=interrupt)
        assert lengths(found) == lengths(reference)
        assert not list(Path(place).iterdir())


@settings(random_programs, max_examples=100)
@given(st.one_of(scenarios(), tails()))
def test_reductions_keep_the_answer(scenario: Scenario) -> None:
    """No reduction, alone or with all others, may lose or add an outcome, a flag or a situation."""
    plain_run = explore(with_reductions(scenario, frozenset()), states_max=STATES_MAX)
    if not plain_run.complete:
        return
    every = frozenset(REDUCTIONS)
    for names in [*(frozenset({name}) for name in REDUCTIONS), *(every - {name} for name in REDUCTIONS), every]:
        reduced = explore(with_reductions(scenario, names))
        assert set(reduced.outcomes) == set(plain_run.outcomes), names
        assert set(reduced.flags) == set(plain_run.flags), names
        assert reduced.reached == plain_run.reached, names
        assert reduced.states <= plain_run.states, names


@random_programs
@given(scenarios())
def test_every_run_can_be_replayed(scenario: Scenario) -> None:
    """A run that the native engine returns must not be refused by the reference machine, nor end differently."""
    found = Engine(with_reductions(scenario, frozenset(REDUCTIONS)), 1, 1 << 28).run(time_s=20)
    for outcome, choices in list(found.outcomes.items())[:5]:
        assert record(Machine(scenario), parse_choices(format_choices(choices))).outcome == outcome
    for flag, choices in found.flags.items():
        trace = record(Machine(scenario), choices)
        assert trace.flag is not None and trace.flag.name == flag


@pytest.mark.parametrize("text", ["0", "0*3,1", "2.1,0*2,2.3*2", ""])
def test_choices_round_trip(text: str) -> None:
    """The text form of choices must not lose any of them."""
    assert format_choices(parse_choices(text)) == text
