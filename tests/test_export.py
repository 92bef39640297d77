# SPDX-License-Identifier: GPL-2.0-only
"""Other checkers must find in exported models what ours finds in the originals: the same states, the same verdicts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench import peers
from ptelab import bundled, checking, programs, reduce
from ptelab.checking import Options
from ptelab.cli import cli
from ptelab.commands.export import LANGUAGES, plan_of
from ptelab.exploration import Exploration
from ptelab.export.plan import ExportError
from ptelab.frontend.declarations import WORDS
from ptelab.litmus.build import read
from ptelab.scenario import Scenario

BENCH = Path(__file__).parents[1] / "bench"
LITMUS = ["load+old", "exit+table", "munmap+store_after"]
MODELS = ["two_phase_commit", "peterson", *LITMUS]


def scenario(name: str) -> Scenario:
    """A program under bench/ or a litmus test, without reductions."""
    if (BENCH / f"{name}.py").exists():
        return programs.read(BENCH / f"{name}.py", {}, reduce.NONE)
    test = read(bundled.directory("litmus") / f"{name}.litmus").on("x86_64")
    return checking.prepare(test, Options(reduce=False)).scenario


def written(tmp_path: Path, of: Scenario, language: str, executed: frozenset[tuple[str, int]] | None = None) -> Path:
    """The exported model."""
    write, suffix = LANGUAGES[language]
    path = tmp_path / f"model{suffix}"
    path.write_text(write(plan_of(of, executed), path.name, "check"), encoding="utf-8")
    return path


def agrees_with_spin(of: Scenario, tmp_path: Path) -> Exploration:
    """SPIN may find no state, transition, flag, outcome or situation that we do not find, nor miss one."""
    ours = checking.explore_scenario(of, Options(memory_bytes=1 << 30))
    theirs = peers.Spin(written(tmp_path, of, "promela"), optimise="-O0").run()
    assert theirs.complete, theirs.problem
    assert (theirs.states, theirs.transitions) == (ours.states, ours.transitions)
    assert theirs.flags == set(ours.flags)
    assert theirs.outcomes == set(ours.outcomes)
    assert theirs.reached == ours.reached
    return ours


BEGINNING = """
from __future__ import annotations
from ptelab.lang import at, flag, ghost, reach, struct, thread, u1

@struct
class Words:
    fixed: u1
    own: u1

def begin() -> None:
    if at(Words, 0).fixed == 0:
        reach("begun")
    else:
        flag("never")

@thread()
def program() -> None:
    begin()
    at(Words, 0).own = 1

@ghost
def final() -> u1:
    return at(Words, 0).own
"""


def test_what_threads_do_before_their_first_step_counts(tmp_path: Path) -> None:
    """A situation before the first step must be in a model from which is left out what was never executed."""
    file = tmp_path / "beginning.py"
    file.write_text(BEGINNING, encoding="utf-8")
    of = programs.read(file, {}, reduce.NONE)
    ours = checking.explore_scenario(of, Options(coverage=True))
    assert {Path(name).name for name, line in ours.covered if line == 12} == {"beginning.py"}
    assert ours.reached == {"begun"} == set(plan_of(of, frozenset(ours.covered)).situations)


def agrees_with_rumur(of: Scenario, tmp_path: Path, whole: bool) -> None:
    """Rumur may find no state, flag or outcome that we do not find, nor miss one, nor go where we never go."""
    ours = checking.explore_scenario(of, Options(memory_bytes=1 << 30, coverage=not whole))
    model = written(tmp_path, of, "murphi", None if whole else frozenset(ours.covered))
    theirs = peers.Rumur(model, optimise="-O0").run()
    assert theirs.complete, theirs.problem
    assert theirs.states == ours.states
    assert theirs.flags - {"deadlock"} == set(ours.flags) - {"deadlock"}  # it sees only who waits for himself
    assert theirs.outcomes == set(ours.outcomes)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["export", *(str(w) for w in words)])


needs_spin = pytest.mark.skipif(
    bool(peers.missing(*peers.Spin.needs)), reason=f"not installed: {peers.missing(*peers.Spin.needs)}"
)
needs_rumur = pytest.mark.skipif(
    bool(peers.missing(*peers.Rumur.needs)), reason=f"not installed: {peers.missing(*peers.Rumur.needs)}"
)


@needs_spin
@pytest.mark.parametrize("name", MODELS)
def test_spin_explores_the_same_graph(name: str, tmp_path: Path) -> None:
    """Two checkers that have nothing in common but the IR may not disagree."""
    agrees_with_spin(scenario(name), tmp_path)


@needs_rumur
@pytest.mark.parametrize("name", MODELS)
def test_rumur_explores_the_same_graph(name: str, tmp_path: Path) -> None:
    """Neither may a third one, which packs its states and counts by itself."""
    agrees_with_rumur(scenario(name), tmp_path, whole=name not in LITMUS)


# Everything that raises a flag, or blocks, or has parts, an index or a stack object.
PROGRAM = """
from typing import NamedTuple
from ptelab.lang import {words}

nr_Page = param("nr_Page", 2)


class entry(NamedTuple):
    present: bool = False
    pfn: u3 = 0


@struct
class Page:
    lock: spinlock_t
    rw: rw_semaphore
    refs: u3
    entry: Array[entry] = array(2)
    next: Page | None


@percpu
class Cpu:
    hits: u2


@onstack
class batch:
    pages: Array[Page] = array(2)
    count: u2


def collect(b: batch, page: Page) -> u2:
    b.pages[b.count] = page
    b.count += 1
    return b.count


def setup() -> None:
    at(Page, 0).next = at(Page, 1)
    at(Page, 1).refs = 3


@thread(copies=2)
def work() -> None:
    b = new(batch)
    page = at(Page, choose(2))
    if spin_trylock(page.lock):
        {body}
        spin_unlock(page.lock)
    else:
        down_read(page.rw)
        up_read(page.rw)


@daemon(cpu=1)
def hardware() -> None:
    while True:
        if choose(2):
            xchg(at(Page, 0).entry[1], entry(present=True, pfn=5))
        else:
            wait_until(at(Page, 0).entry[1].present and this_cpu(Cpu).hits < 2)
            this_cpu(Cpu).hits += 1


@ghost
def final() -> tuple[u3, u3]:
    if at(Page, 0).entry[0].present and at(Page, 1).entry[0].present:
        flag("both")
    return at(Page, 0).refs, at(Page, 1).refs
"""
BODIES = {
    "": "collect(b, page)",
    "bad_kernel_state": "atomic_sub(2, page.refs)",
    "null_dereference": "page.next.refs = 1",
    "lock_assertion": "lockdep_assert_held_write(page.rw)",
    "both": "page.entry[0] = entry(present=True)",
    "deadlock": "down_write(at(Page, 0).rw)",
    "bad_kernel_state ": "collect(b, page)\n        collect(b, page)\n        collect(b, page)",
    " ": "reach('here')\n        old = cmpxchg(page.entry[1], entry(), entry(pfn=(page.refs ^ 5) % 4))\n"
         "        atomic_or(1 << old.pfn // 3, page.refs)",
}  # fmt: skip


def small(tmp_path: Path, body: str) -> Scenario:
    text = PROGRAM.replace("{body}", body)
    words = ", ".join(sorted(w for w in WORDS if re.search(rf"\b{w}\b", text)))
    path = tmp_path / "small.py"
    path.write_text(text.replace("{words}", words), encoding="utf-8")
    return programs.read(path, {}, reduce.NONE)


@needs_spin
@pytest.mark.parametrize("flag", BODIES)
def test_spin_sees_what_is_wrong(flag: str, tmp_path: Path) -> None:
    """A check that the exported model lacks would make it agree with anything."""
    ours = agrees_with_spin(small(tmp_path, BODIES[flag]), tmp_path)
    assert not flag.strip() or flag.strip() in ours.flags


@needs_rumur
@pytest.mark.parametrize("flag", BODIES)
def test_rumur_sees_what_is_wrong(flag: str, tmp_path: Path) -> None:
    """So would one that Rumur's model lacks."""
    agrees_with_rumur(small(tmp_path, BODIES[flag]), tmp_path, whole=True)


@needs_spin
def test_code_that_is_left_out_is_noticed(tmp_path: Path) -> None:
    """What is left out since we never execute it must be missed if another checker does."""
    of = scenario("two_phase_commit")
    ours = checking.explore_scenario(of, Options(coverage=True, memory_bytes=1 << 30))
    model = written(tmp_path, of, "promela", frozenset(sorted(ours.covered)[:8]))
    assert "left_out" in peers.Spin(model, optimise="-O0").run().flags


REST = """
@struct
class Word:
    a: u1
    b: u1


def idle() -> None:
    if choose(2):
        at(Word, 0).a = 1


@thread()
def program() -> None:
    reach("first")
    at(Word, 0).b = 1


@daemon(cpu=0)
def hardware() -> None:
    idle()
    at(Word, 0).a = 0
    while True:
        idle()


@ghost
def final() -> tuple[u1, u1]:
    return at(Word, 0).a, at(Word, 0).b
"""
NAMES = """
class entry(NamedTuple):
    present: bool = False
    pfn: u2 = 0


@percpu
class Cpu:
    hits: u2
    no_hits: u2


@struct
class Page:
    refs: u2


def pick(x: entry, x_present: bool) -> u2:
    return x.pfn if x_present and not x.present else 3


def count(Cpu_hits: u2) -> u2:
    this_cpu(Cpu).hits = 2
    Cpu_hits = Cpu_hits + 1
    return Cpu_hits


@thread()
def program() -> None:
    at(Page, 0).refs = pick(entry(pfn=2), True)
    at(Page, 0).refs = count(0)


@ghost
def final() -> u2:
    return at(Page, 0).refs
"""
CHOICES = """
@struct
class Word:
    a: u1


@thread()
def program() -> None:
    some: u1 = choose(3)
    at(Word, 0).a = some
"""
WIDE = """
Wide: TypeAlias = Annotated[int, upto((1 << 40) - 1)]


@struct
class Word:
    wide: Wide
    a: u2


def inside(x: u2) -> u2:
    at(Word, 0).a = x
    return x


@thread(copies=2)
def program() -> None:
    wide: Wide = (1 << 40) - 1
    inside(2)
    at(Word, 0).a = 0
    at(Word, 0).wide = wide


@ghost
def final() -> Wide:
    return at(Word, 0).wide
"""
QUEUE = """
@struct
class Word:
    rw: rw_semaphore
    turn: u5


@thread(copies=28)
def program() -> None:
    wait_until(at(Word, 0).turn == thread_id())
    down_read(at(Word, 0).rw)
    lockdep_assert_held_read(at(Word, 0).rw)
    up_read(at(Word, 0).rw)
    at(Word, 0).turn = (thread_id() + 1) % 28
"""
ARITHMETIC = """
@struct
class Word:
    by: u8
    a: u16
    b: u16


@thread()
def program() -> None:
    by: u8 = choose(256)
    at(Word, 0).by = by
    down: u16 = 100 + (by - 200) // 7
    at(Word, 0).b = (by - 200) % 7
    at(Word, 0).a = down + (100 - by >> 3) + (down >> (by - 3))
    at(Word, 0).a = 3 << (by - 2)


@ghost
def final() -> tuple[u16, u16]:
    return at(Word, 0).a, at(Word, 0).b
"""
WAITING = """
@struct
class Word:
    a: u2
    told: u2


def waited(n: u2, by: u2) -> u2:
    rounds: u2 = 0
    while rounds != n:
        rounds = (rounds + by) & 3
    return rounds


@thread()
def program() -> None:
    n: u2 = choose(4)
    at(Word, 0).a = n
    at(Word, 0).told = waited(n, 2)


@ghost
def final() -> u2:
    n: u2 = at(Word, 0).a
    return waited(1, 1 - (n >> 1)) + at(Word, 0).told
"""
TRAPS = {
    "rest": REST, "names": NAMES, "choices": CHOICES, "wide": WIDE, "queue": QUEUE, "arithmetic": ARITHMETIC,
    "waiting": WAITING,
}  # fmt: skip


def trap(tmp_path: Path, name: str) -> Scenario:
    text = TRAPS[name]
    words = ", ".join(sorted(w for w in WORDS if re.search(rf"\b{w}\b", text)))
    head = f"from typing import Annotated, NamedTuple, TypeAlias\nfrom ptelab.lang import {words}\n"
    path = tmp_path / f"{name}.py"
    path.write_text(head + text, encoding="utf-8")
    return programs.read(path, {}, reduce.NONE)


@needs_spin
@pytest.mark.parametrize("name", TRAPS)
def test_spin_does_what_we_do(name: str, tmp_path: Path) -> None:
    """What C does otherwise than Python, or a state says that a place does not, may make no difference."""
    agrees_with_spin(trap(tmp_path, name), tmp_path)


@needs_rumur
@pytest.mark.parametrize("name", sorted(TRAPS.keys() - {"wide", "queue"}))
def test_rumur_does_what_we_do(name: str, tmp_path: Path) -> None:
    """Nor what Murphi does otherwise."""
    agrees_with_rumur(trap(tmp_path, name), tmp_path, whole=True)


@pytest.mark.parametrize("name", ["wide", "queue"])
def test_rumur_is_not_given_what_it_cannot_compute(name: str, tmp_path: Path) -> None:
    """Numbers that Rumur's arithmetic would lose must not get as far as that."""
    with pytest.raises(ExportError, match="too wide for Rumur"):
        written(tmp_path, trap(tmp_path, name), "murphi")


@pytest.mark.parametrize("language", ["promela", "murphi"])
def test_a_model_is_always_exported_alike(language: str, tmp_path: Path) -> None:
    """In which order Python goes through a set must not be seen in what is exported."""
    texts = set()
    for seed in ("1", "2", "3"):
        file = tmp_path / seed / "model"
        file.parent.mkdir()
        words = ["export", "--to", language, "-o", str(file), str(bundled.directory("litmus") / "load+old.litmus")]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-m", "ptelab", *words], env=environment, check=True, capture_output=True)
        texts.add(file.read_text(encoding="utf-8"))
    assert len(texts) == 1


def test_export_says_how_the_model_is_run(tmp_path: Path) -> None:
    """A model that nobody knows how to run is no model."""
    for language, (_, suffix) in LANGUAGES.items():
        file = tmp_path / f"m{suffix}"
        assert run("--to", language, BENCH / "two_phase_commit.py", "--set", "nr_Manager=4", "-o", file).exit_code == 0
        text = file.read_text(encoding="utf-8")
        assert file.name in text and "--set nr_Manager=4 --no-reduce" in text


def test_a_choose_that_is_too_wide_is_refused(tmp_path: Path) -> None:
    """A rule for each of thousands of alternatives is no model that anybody could explore."""
    file = tmp_path / "p.py"
    file.write_text("""from ptelab.lang import choose, struct, at, thread, u16


@struct
class Page:
    refs: u16


@thread()
def f() -> None:
    some: u16 = choose(at(Page, 0).refs)
    at(Page, 0).refs = some
""", encoding="utf-8")  # fmt: skip
    result = run("--to", "murphi", file)
    assert result.exit_code == 2 and "choose() among" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [
    ("--to", "cobol", "store+writeback"), ("store+writeback",), ("--to", "promela", "nothing+here"),
    ("--to", "promela", "none.py"), ("--to", "promela", "store+writeback", "--set", "N=1"),
    ("--to", "promela", BENCH / "peterson.py", "--patch", "5df397dec7c4"), ("--to", "promela", "store+writeback", "-o", "/"),
    ("--to", "promela", BENCH / "peterson.py", "--set", "N"), ("--to", "promela", BENCH.parent / "litmus"),
])  # fmt: skip
def test_bad_input_is_one_line(words: tuple[str, ...]) -> None:
    """Nothing that is wrong may end in a traceback or in half a model."""
    result = run(*words)
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1, result.output
