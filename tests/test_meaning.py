# SPDX-License-Identifier: GPL-2.0-only
"""A function of the dialect, run alone, must do what Python does with the same text: to its last side effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptelab import frontend
from ptelab.machine import Machine
from ptelab.scenario import Scenario, Thread
from ptelab.search import explore
from ptelab.source import Sources

DECLARATIONS = """
from __future__ import annotations
from typing import NamedTuple
from ptelab.lang import {words}

class pair(NamedTuple):
    a: u16 = 0
    b: u16 = 0

@struct
class Page:
    x: u16
    y: u16
    flag: bool
    pair: pair
    next: Page
    arr: Array[u16] = array(2)

@struct
class Out:
    value: u16

def bump(p: Page, n: u16) -> u16:
    p.x = (p.x + n) % 16
    return p.y

def toggle(p: Page) -> bool:
    p.flag = not p.flag
    p.y = (p.y * 3 + 1) % 16
    return p.flag

def two(p: Page, n: u16 = 3) -> tuple[u16, u16]:
    p.x = n
    return p.y, n

def swap(v: pair) -> pair:
    v = v._replace(a=v.b, b=v.a)
    return v

def f(p: Page, q: Page) -> u16:
    a: u16 = 1
    b: u16 = 2
    c: bool = False
    v: pair = pair(a=1, b=2)
"""
WORDS = ["u16", "struct", "Array", "array", "at", "ghost"]
HARNESS = """
def setup() -> None:
    at(Page, 0).next = at(Page, 1)
    at(Page, 1).next = at(Page, 0)
    at(Page, 0).y = 5
    at(Page, 1).x = 3

def main() -> None:
    at(Out, 0).value = f(at(Page, 0), at(Page, 1))

@ghost
def final() -> tuple[{types}]:
    return {results}
"""
MEMBERS = ["x", "y", "flag", "pair.a", "pair.b", "arr[0]", "arr[1]"]
RESULTS = ["at(Out, 0).value"] + [f"at(Page, {i}).{member}" for i in (0, 1) for member in MEMBERS]
TYPES = ["u16"] + ["bool" if member == "flag" else "u16" for _ in (0, 1) for member in MEMBERS]

page = st.sampled_from(["p", "q", "p.next", "q.next.next"])
place = st.builds("{}.{}".format, page, st.sampled_from(["x", "y", "arr[0]", "arr[a % 2]", "arr[p.y % 2]"]))


def fill(template: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda given: template.format(*given))


def numbers(inner: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[str]:
    n, c = inner.map(lambda both: both[0]), inner.map(lambda both: both[1])
    return st.one_of(
        fill("({} + {}) % 16", n, n), fill("({} * {}) % 8", n, n), fill("({} ^ {}) % 16", n, n), fill("({} & 5)", n),
        fill("({} if {} else {})", n, c, n), fill("bump({}, {})", page, n), fill("swap({}.pair).a", page),
        fill("pair(a={}, b={}).b", n, n), fill("({} // 3)", n), fill("v._replace(b={}).b", n),
    )  # fmt: skip


def conditions(inner: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[str]:
    n, c = inner.map(lambda both: both[0]), inner.map(lambda both: both[1])
    return st.one_of(
        fill("({} < {})", n, n), fill("({} == {})", n, n), fill("(not {})", c), fill("({} and {})", c, c),
        fill("({} or {})", c, c), fill("({} and {} and {})", c, c, c), fill("toggle({})", page),
        fill("({} < a <= b)", n), fill("({} == {})", page, page), fill("({}.pair == v)", page),
        fill("(True if {} else {})", c, c),
    )  # fmt: skip


leaves = st.tuples(
    st.one_of(st.sampled_from(["a", "b", "7", "0", "v.a", "v.b", "p.pair.b"]), place),
    st.sampled_from(["c", "p.flag", "q.flag", "True", "a < b"]),
)
both = st.recursive(leaves, lambda inner: st.tuples(numbers(inner), conditions(inner)), max_leaves=6)
number, condition = both.map(lambda pair: pair[0]), both.map(lambda pair: pair[1])

simple = st.one_of(
    fill("a = {}", number), fill("b = {}", number), fill("c = {}", condition), fill("{} = {}", place, number),
    fill("{} += {}", place, number), fill("a += {}", number), fill("{}.flag = {}", page, condition),
    fill("a, b = two({}, {})", page, number), fill("b, _ = two(n={}, p={})", number, page), fill("v = swap(v)"),
    fill("v = {}.pair", page), fill("{}.pair = v._replace(a={})", page, number), fill("bump({}, a)", page),
    fill("v = pair(a=v.b, b={})", number), fill("v = v if {} else {}.pair", condition, page),
    fill("if {}:\n    return {}", condition, number), fill("a = a % 100"),
)  # fmt: skip


def indented(lines: list[str]) -> str:
    return "\n".join("    " + line for text in lines for line in text.split("\n"))


def blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, min_size=1, max_size=3).map(indented)
    leave = st.sampled_from(["break", "continue"])
    made = st.one_of(
        fill("if {}:\n{}\nelse:\n{}", condition, body, body),
        fill("if {}:\n{}\nelif {}:\n{}", condition, body, condition, body),
        fill("for @ in range({} % 4):\n{}", number, body),
        fill("for @ in range(3, 0, -1):\n{}\n    if {}:\n        {}\n    p.arr[0] = @", body, condition, leave),
        fill(
            "w@: u16 = 0\nwhile {} and w@ < 3:\n    w@ += 1\n    if {}:\n        {}\n{}",
            condition,
            condition,
            leave,
            body,
        ),
    )
    return made.map(lambda text: text.replace("@", f"n{len(text)}"))  # what is inside is shorter: another name


program = st.lists(st.recursive(simple, blocks, max_leaves=5), min_size=1, max_size=5).map(
    lambda lines: indented([*lines, "return (a + b) % 99"])
)


class Object:
    """A struct of the dialect, for CPython."""

    def __init__(self, pair: Any) -> None:
        self.x = self.y = self.value = 0
        self.flag = False
        self.pair = pair()
        self.arr = [0, 0]


def in_python(body: str) -> list[int]:
    """What CPython makes of the program."""
    names: dict[str, Any] = {}
    exec(DECLARATIONS.split("from ptelab.lang")[0], names)
    exec("class Array:\n    __class_getitem__ = dict.get\ndef struct(c): return c\ndef array(n): return n", names)
    names["ghost"] = names["struct"]
    pools: dict[str, list[Object]] = {}

    def at(cls: type, index: int) -> Object:
        return pools.setdefault(cls.__name__, [Object(names["pair"]), Object(names["pair"])])[index]

    names["at"] = at
    text = DECLARATIONS.split("{words}")[1] + body + HARNESS.format(types=", ".join(TYPES), results=", ".join(RESULTS))
    exec(compile("from __future__ import annotations\n" + text, "program", "exec"), names)
    names["setup"]()
    names["main"]()
    return [int(value) for value in names["final"]()]


def in_dialect(body: str) -> tuple[list[int], set[str]]:
    """What the front end and the reference machine make of it: the outcome, and the flags."""
    text = DECLARATIONS.format(words=", ".join(WORDS)) + body
    text += HARNESS.format(types=", ".join(TYPES), results=", ".join(RESULTS))
    sources = Sources("x86_64", Path("/nonexistent"), overlay={"litmus.py": text})
    module = frontend.compile_model(sources, ["setup", "main", "final"]).module
    params = {"nr_Page": 2, "nr_Out": 1, "NR_CPUS": 1, "NR_THREADS": 1}
    found = explore(Machine(Scenario("alone", module, params, (Thread("P0", "main", 0),))))
    outcomes = list(found.outcomes)
    assert len(outcomes) + len(found.flags) == 1
    return list(outcomes[0]) if outcomes else [], set(found.flags)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(program)
def test_as_python(body: str) -> None:
    """No program may end differently than under Python, be it in one bit of memory."""
    expected = in_python(body)
    outcome, flags = in_dialect(body)
    assert flags == set() and outcome == expected, DECLARATIONS + body
