# SPDX-License-Identifier: GPL-2.0-only
"""Programs without a kernel: the classics have the numbers of states that everybody else finds."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ptelab import checking, link, programs
from ptelab.checking import Options
from ptelab.cli import cli
from ptelab.exploration import Exploration
from ptelab.native import checkpoint, compiler, engine, store
from ptelab.reduce import NONE

BENCH = Path(__file__).parents[1] / "bench"


def explored(name: str, engine: checking.EngineName = "native", reduce: bool = False, **values: int) -> Exploration:
    """What an engine finds in one of the programs under bench/."""
    scenario = programs.read(BENCH / f"{name}.py", values, None if reduce else NONE)
    return checking.explore_scenario(scenario, Options(engine=engine, memory_bytes=1 << 30))


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["explore", *(str(w) for w in words)])


@pytest.mark.parametrize("managers, states", [(3, 288), (5, 8_832)])
def test_two_phase_commit_has_the_known_number_of_states(managers: int, states: int) -> None:
    """No state may be lost or counted twice: Gray and Lamport's specification has so many."""
    found = explored("two_phase_commit", nr_Manager=managers)
    assert (found.states, found.flags, set(found.outcomes)) == (states, {}, {(0,), (1,)})


def test_peterson_has_the_known_number_of_states() -> None:
    """No state may be lost or counted twice: BEEM's model of three processes has so many states and transitions."""
    found = explored("peterson", nr_Process=3)
    assert (found.states, found.transitions, found.flags) == (12_498, 33_369, {})


ONE_CPU = {"nr_Cpu": 1, "NUM_USER_ASIDS": 3, "nr_mm_struct": 3, "SWITCHES": 4}


@pytest.mark.parametrize("values, states", [({"SWITCHES": 1}, 16_703), (ONE_CPU, 23_725)])
def test_the_asid_allocator_has_as_many_states_as_before(values: dict[str, int], states: int) -> None:
    """No state may come or go unnoticed; SPIN and Rumur find as many."""
    found = explored("arm64_asid", **values)
    assert (found.states, found.flags) == (states, {})


@pytest.mark.parametrize("change, flag", [
    ("", ""),
    ("        local_flush_tlb_all()\n", "wrong_translation"),
    ("            wait_until(at(Cpu, i).invalidate == 0)\n", "stale_translation"),
    ("    at(Allocator, 0).tlb_flush_pending = (1 << nr(Cpu)) - 1\n", "wrong_translation"),
])  # fmt: skip
def test_the_asid_allocator_needs_its_lines(change: str, flag: str, tmp_path: Path) -> None:
    """No translation of another process may be used; without the line there is a run in which one is."""
    text = (BENCH / "arm64_asid.py").read_text(encoding="utf-8")
    assert change in text
    file = tmp_path / "asid.py"
    indent = " " * (len(change) - len(change.lstrip()))
    file.write_text(text.replace(change, f"{indent}pass\n") if change else text, encoding="utf-8")
    found = checking.explore_scenario(programs.read(file, ONE_CPU), Options(memory_bytes=1 << 30))
    assert (set(found.flags) == {flag}) if flag else (not found.flags)
    assert flag or found.reached == {"rollover", "reserved_asid_kept", "translation_survives"}


@pytest.mark.parametrize("name", ["two_phase_commit", "peterson"])
def test_reductions_change_no_answer(name: str) -> None:
    """No reduction may hide an outcome or a flag, nor add a state."""
    without, reduced = explored(name), explored(name, reduce=True)
    assert (without.flags, set(without.outcomes)) == (reduced.flags, set(reduced.outcomes))
    assert reduced.states <= without.states


def test_the_engines_agree_on_two_phase_commit() -> None:
    """Neither engine may see what the other does not."""
    a, b = (explored("two_phase_commit", engine, nr_Manager=3) for engine in checking.ENGINES)
    assert (a.states, a.transitions, a.depth, a.outcomes) == (b.states, b.transitions, b.depth, b.outcomes)


ARITHMETIC = """
from __future__ import annotations
from ptelab.lang import at, choose, ghost, param, struct, thread, u8, u16

DIVISOR = param("DIVISOR", 7)

@struct
class Words:
    value: u16

@thread()
def program() -> None:
    n: u8 = choose(256)
    at(Words, 0).value = {}

@ghost
def final() -> u16:
    return at(Words, 0).value
"""
EXPRESSIONS = [
    "100 + (n - 200) // 7", "(n - 200) % 7", "100 + (n - 200) // DIVISOR", "1 << n", "(n - 3) << (n - 4)",
    "(1 << n) % 1000", "40 + (100 - n >> 3)", "n >> n // 3", "n >> (n - 7)", "(n * n * n * n * n * n * n * n * n) % 999",
    "n ^ 3 | ~n & 7", "(n - 9 & 12) + (n - 300 & 255)",
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_engines_compute_alike(expression: str, tmp_path: Path) -> None:
    """No number may be another in a word of the processor than in Python, be it negative or too large for the word."""
    file = tmp_path / "sum.py"
    file.write_text(ARITHMETIC.format(expression), encoding="utf-8")
    found = [
        checking.explore_scenario(programs.read(file, {}, reductions), Options(engine=engine, threads=1))
        for engine, reductions in (("machine", NONE), ("native", NONE), ("native", None))
    ]
    for other in found[1:]:
        assert set(other.outcomes) == set(found[0].outcomes)
        assert set(other.flags) == set(found[0].flags)


@pytest.mark.parametrize("engine", checking.ENGINES)
def test_a_divisor_that_is_set_to_zero_is_refused(engine: str, tmp_path: Path) -> None:
    """Division by zero must end neither in a traceback nor in a signal."""
    file = tmp_path / "sum.py"
    file.write_text(ARITHMETIC.format("n // DIVISOR"), encoding="utf-8")
    result = run(file, "--set", "DIVISOR=0", "--engine", engine)
    assert result.exit_code == 2 and "DIVISOR is 0" in result.stderr and result.stderr.count("\n") == 1


WAITING = """
from __future__ import annotations
from ptelab.lang import at, choose, ghost, struct, thread, u1, u8

@struct
class Words:
    own: u1
    told: u1

@thread()
def program() -> None:
    n: u1 = choose(2)
    at(Words, 0).told = n
    i: u8 = 0
    if n == 0:
{}

@ghost
def final() -> u1:
    return at(Words, 0).told
"""
COUNTING = """
from __future__ import annotations
from ptelab.lang import at, choose, struct, thread, u1, u16

@struct
class Words:
    never: u1
    value: u16

@thread()
def program() -> None:
    end: u16 = choose(1) + {}
    total: u16 = 0
    for i in range(3):
        j: u16 = 0
        while j < 4:
            if at(Words, 0).never == 1:
                j = 0
            if j < 8:
                total = total + i
            else:
                total = 9
            j = j + 1
    for i in range(2):
        at(Words, 0).value = total
        k: u16 = 0
        while k < end:
            k = k + 1
"""


@pytest.mark.parametrize("engine", checking.ENGINES)
@pytest.mark.parametrize("lines", [
    ["while True:", "    pass"], ["while at(Words, 0).own == n:", "    pass"],
    ["while i < 40:", "    if n == 0:", "        i = 0", "    i = i + 1"],
], ids=["nothing", "word", "back"])  # fmt: skip
def test_a_loop_without_a_step_is_given_up(
    engine: str, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that waits for what nobody does must neither end in a traceback nor never."""
    monkeypatch.setattr(link, "ROUNDS_MAX", 1000)
    file = tmp_path / "loop.py"
    file.write_text(WAITING.format("\n".join(" " * 8 + line for line in lines)), encoding="utf-8")
    result = run(file, "--engine", engine)
    assert result.exit_code == 1 and "Flag bad_kernel_state" in result.stdout and ".told=1" in result.stdout
    assert "loops without touching shared state (loop.py:16)" in " ".join(result.stdout.split())


@pytest.mark.parametrize("reductions", [(), ("--no-reduce",), ("--without", "unreached")], ids=" ".join)
@pytest.mark.parametrize("engine", checking.ENGINES)
def test_rounds_are_those_of_one_transition(
    engine: str, reductions: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds of other transitions must not be counted, and with some reduction neither more nor fewer."""
    monkeypatch.setattr(link, "ROUNDS_MAX", 3 * 4 + 2 + 28 + 1)
    file = tmp_path / "loop.py"
    for end, status in (("28", 0), ("29", 1)):
        file.write_text(COUNTING.format(end), encoding="utf-8")
        result = run(file, "--engine", engine, *reductions)
        assert result.exit_code == status, result.output


@pytest.mark.parametrize("engine", checking.ENGINES)
def test_many_arguments_disturb_nothing(engine: str, tmp_path: Path) -> None:
    """Arguments, however many, must not be written over what else the compiled code keeps."""
    names = [f"a{n}" for n in range(400)]
    takes = ", ".join(f"{name}: u16" for name in names)
    lines = [
        "from ptelab.lang import at, ghost, struct, thread, u16", "@struct", "class Words:", "    value: u16",
        f"def many({takes}) -> u16:", "    i: u16 = 0", "    at(Words, 0).value = 1", "    while i != 9:",
        "        i = i + 1", *(f"    i = i ^ {name}" for name in names), "    at(Words, 0).value = i", "    return i",
        "@thread()", "def program() -> None:", f"    n: u16 = many({', '.join(map(str, range(1, 401)))})",
        "    at(Words, 0).value = at(Words, 0).value + n",
        "@ghost", "def final() -> u16:", "    return at(Words, 0).value",
    ]  # fmt: skip
    file = tmp_path / "many.py"
    file.write_text("\n".join(lines), encoding="utf-8")
    result = run(file, "--engine", engine)
    assert result.exit_code == 0 and f".value={2 * (400 ^ 9)}\n" in result.stdout, result.output


LONG = """
from ptelab.lang import at, ghost, struct, thread, u16

@struct
class Words:
    own: u16
    last: u16

def may_stop(i: u16) -> u16:
    if i == 65000:
        at(Words, 0).own = 1
    return i

@thread()
def program() -> None:
    n: u16 = at(Words, 0).own
    i: u16 = 0
    while i + n < 60000:
        i = may_stop(i) + 1
    at(Words, 0).last = i

@thread()
def other() -> None:
    at(Words, 0).own = 1

@ghost
def final() -> u16:
    return at(Words, 0).last
"""


def test_many_returns_within_a_step_do_not_fill_the_stack(tmp_path: Path) -> None:
    """A loop of calls of a function that might stop, but does not, must not crash the process."""
    file = tmp_path / "long.py"
    file.write_text(LONG, encoding="utf-8")
    command = [sys.executable, "-m", "ptelab", "explore", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "60000" in result.stdout and "59999" in result.stdout


def test_small_functions_of_small_functions_do_not_grow_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions that are written into their callers must not double the code with each of them."""
    lines: list[int] = []
    compile_text = compiler.compile_text

    def counted(text: str, *how: Any, **more: Any) -> compiler.Library:
        lines.append(text.count("\n"))
        return compile_text(text, *how, **more)

    monkeypatch.setattr(compiler, "compile_text", counted)
    for depth in (4, 8, 12):
        deeper = "".join(f"def f{n}(x: u8) -> u8:\n    return f{n - 1}(x) ^ f{n - 1}(x)\n\n" for n in range(1, depth))
        text = ARITHMETIC.format(f"f{depth - 1}(n)").replace(
            "@thread()", f"def f0(x: u8) -> u8:\n    return x\n\n{deeper}@thread()"
        )
        (tmp_path / "small.py").write_text(text, encoding="utf-8")
        assert run(tmp_path / "small.py").exit_code == 0
    four, eight, twelve = lines[-3:]
    assert twelve - eight < 2 * (eight - four)


# ---------------------------------------------------------------------------------------------- explore


def test_a_program_without_threads(tmp_path: Path) -> None:
    """A file that declares no thread must not count as explored."""
    file = tmp_path / "p.py"
    file.write_text("def f() -> None:\n    pass\n", encoding="utf-8")
    result = run(file)
    assert result.exit_code == 2 and "there is no thread to run" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "word",
    [
        "nr_Manager",
        "nr_Manager=",
        "nr_Manager=x",
        "N=3",
        "nr_Manager=0",
        "nr_Manager=99",
        "nr_Manager=9999999999",
        "nr_Coordinator=999999999",
    ],
)
def test_a_bad_parameter(word: str) -> None:
    """A parameter that cannot be set must be named in one line."""
    result = run(BENCH / "two_phase_commit.py", "--set", word)
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1


def test_a_flag_is_shown_with_its_run_and_can_be_replayed(tmp_path: Path) -> None:
    """A program that breaks its invariant must not pass, and its run must be there to be looked at."""
    text = (BENCH / "two_phase_commit.py").read_text(encoding="utf-8")
    wrong = text.replace("all_heard = this_cpu(Own).count == nr(Manager)", "all_heard = this_cpu(Own).count > 0")
    assert wrong != text
    file = tmp_path / "wrong.py"
    file.write_text(wrong, encoding="utf-8")
    result = run(file, "--no-reduce")
    assert result.exit_code == 1 and "Flag inconsistent" in result.output
    assert f"Replay: ptelab explore {file}" in result.output
    choices = result.output.partition("--replay '")[2].partition("'")[0]
    again = run(file, "--no-reduce", "--replay", choices)
    assert again.exit_code == 0 and "Flag inconsistent" in again.output
    assert run(file, "--replay", "7").exit_code == 2


def test_a_run_that_nobody_can_take_is_refused() -> None:
    """A number of steps that fills all memory must not be tried."""
    result = run(BENCH / "two_phase_commit.py", "--replay", "0*99999999999")
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1


@pytest.mark.parametrize("text", [b"\xff", b"not python", b"x = 1\0"])
def test_what_lies_beside_a_program_is_not_read(text: bytes, tmp_path: Path) -> None:
    """A file that nothing imports must not be in the way, and one that is imported no traceback."""
    (tmp_path / "other.py").write_bytes(text)
    file = tmp_path / "p.py"
    file.write_text(ARITHMETIC.format("n"), encoding="utf-8")
    assert run(file, "--engine", "machine").exit_code == 0
    file.write_text("from other import f\n" + ARITHMETIC.format("n").replace("from __future__", "#"), encoding="utf-8")
    result = run(file)
    assert result.exit_code == 2 and "other.py" in result.stderr and result.stderr.count("\n") == 1


def test_the_result_as_json() -> None:
    """A program that reads the output must find the numbers there."""
    found = json.loads(run(BENCH / "two_phase_commit.py", "--json").stdout)
    assert found["complete"] and found["states"] == 80 and {"committed": 1} in found["outcomes"]


def test_a_limit_is_no_pass() -> None:
    """An exploration that did not come to its end must not look like one that did."""
    result = run(BENCH / "two_phase_commit.py", "--set", "nr_Manager=9", "--time", "0.000001")
    assert result.exit_code == 3 and "incomplete" in result.output


def test_a_stopped_run_is_resumed(tmp_path: Path) -> None:
    """What a run stopped at a limit has found must not be searched again, and the end must be the same."""
    program = (BENCH / "two_phase_commit.py", "--set", "nr_Manager=5", "--no-reduce", "--json")
    whole = json.loads(run(*program).stdout)
    first = run(*program, "--checkpoint", tmp_path, "--time", "0.000001")
    assert first.exit_code == 3 and len(list(tmp_path.iterdir())) == 1
    found = json.loads(first.stdout)
    assert found["stopped"] == "time" and found["checkpoint"].startswith("checkpoint in ")
    second = run(*program, "--checkpoint", tmp_path, "--resume")
    assert second.exit_code == 0 and not list(tmp_path.iterdir())
    resumed = json.loads(second.stdout)
    assert 0 < resumed["resumed_states"] == found["states"] < whole["states"]
    for what in ("states", "transitions", "depth", "outcomes", "flags", "reached"):
        assert resumed[what] == whole[what], what


def test_a_killed_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written down before the process was lost must be enough to go on from."""
    scenario = programs.read(BENCH / "two_phase_commit.py", {"nr_Manager": 5}, NONE)
    monkeypatch.setattr(checkpoint, "FIRST_AFTER_S", -1.0)

    def lost(progress: checking.Progress) -> None:
        if progress.depth == 9:
            raise ZeroDivisionError

    options = Options(checkpoints=tmp_path, progress=lost)
    with pytest.raises(ZeroDivisionError):
        checking.explore_scenario(scenario, options)
    found = checking.explore_scenario(scenario, replace(options, progress=None, resume=True))
    assert (found.states, found.complete) == (8_832, True) and 0 < found.resumed_states < 8_832


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:1] + b"x" + b[2:], lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:],
                                    lambda b: b + b"x"])  # fmt: skip
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """Half a search must never count as one."""
    program = (BENCH / "two_phase_commit.py", "--no-reduce", "--checkpoint", tmp_path)
    assert run(*program, "--time", "0.000001").exit_code == 3
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    result = run(*program, "--resume")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and file.name in result.stderr


def test_what_is_written_down_at_the_limit_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that lacks memory for a wider layout must not be written down with that layout: half of it is lost."""
    scenario = programs.read(BENCH / "two_phase_commit.py", {"nr_Manager": 5}, NONE)
    monkeypatch.setattr(store, "SHARED_BITS", 6)
    replace_table, tries = store.Store._replace_table, itertools.count()

    def no_memory(self: store.Store, slots: int, repack: bool) -> bool:
        if repack and not next(tries):
            self.memory_bytes = 0
        return replace_table(self, slots, repack)

    monkeypatch.setattr(store.Store, "_replace_table", no_memory)
    options = Options(checkpoints=tmp_path)
    assert checking.explore_scenario(scenario, options).stopped == "memory"
    found = checking.explore_scenario(scenario, replace(options, resume=True))
    assert 1 < found.resumed_states < found.states
    assert (found.complete, found.states, found.transitions, found.depth) == (True, 8_832, 37_345, 16)


def test_a_time_that_is_no_number_is_refused() -> None:
    """`--time nan` must not mean for ever."""
    result = run(BENCH / "two_phase_commit.py", "--time", "nan")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1


def test_resume_needs_a_place() -> None:
    """Without a directory there is nothing to go on from."""
    result = run(BENCH / "two_phase_commit.py", "--resume")
    assert result.exit_code == 2 and "--checkpoint DIR" in result.stderr


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_workers_lose_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has to wait for a larger table must not be forgotten when the others have nothing left to do."""
    scenario = programs.read(BENCH / "two_phase_commit.py", {"nr_Manager": 5}, NONE)
    monkeypatch.setattr(engine, "PARALLEL_LEVEL", 64)
    for name, value in {"SLOTS_MIN": 256, "INDEX_MIN": 4, "MEMO_BITS_MIN": 2, "PIPE_MIN": 1, "OWN_BITS": 1}.items():
        monkeypatch.setattr(store, name, value)
    for _ in range(10):
        found = checking.explore_scenario(scenario, Options(threads=threads))
        assert (found.states, found.transitions, found.depth, found.flags) == (8_832, 37_345, 16, {})


@pytest.mark.parametrize("size", [1 << 20, 5 << 20, 12 << 20])
def test_memory_is_used_up_to_the_limit_and_not_beyond(size: int) -> None:
    """A limit must neither be passed nor leave half of the memory unused."""
    scenario = programs.read(BENCH / "two_phase_commit.py", {"nr_Manager": 8}, NONE)
    found = checking.explore_scenario(scenario, Options(memory_bytes=size))
    assert found.stopped == "memory" and size / 2 < found.memory_bytes <= size * 1.05


@pytest.mark.parametrize("when", ["uneven", "too fine"])
def test_a_table_that_cannot_grow_is_a_limit(when: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A search whose tables cannot grow must not end in a traceback, nor write down what it has lost."""
    if when == "uneven":
        monkeypatch.setattr(store, "SLOTS_MIN", 256)
        monkeypatch.setattr(store.Store, "_all", lambda self, function, arguments: [False])
    else:
        monkeypatch.setattr(store, "CODE_BITS", 12)
        monkeypatch.setattr(store, "HIGH_BITS_MAX", 0)
    program = (BENCH / "two_phase_commit.py", "--set", "nr_Manager=5", "--no-reduce", "--memory", "64M", "--json")
    result = run(*program, *(["--checkpoint", tmp_path] if when == "uneven" else []))
    found = json.loads(result.stdout)
    assert (result.exit_code, found["complete"], found["stopped"]) == (3, False, "memory")
    assert when != "uneven" or ("no checkpoint" in found["checkpoint"] and not list(tmp_path.iterdir()))


def test_what_is_merged_can_be_taken_apart() -> None:
    """`--without local` must not leave local work merged: then nothing would show that merging changes no answer."""
    result = run(BENCH / "two_phase_commit.py", "--no-reduce", "--json")
    apart = run(BENCH / "two_phase_commit.py", "--no-reduce", "--without", "local", "--json")
    merged, apart_found = json.loads(result.stdout), json.loads(apart.stdout)
    assert merged["states"] == 288 < apart_found["states"]
    assert merged["outcomes"] == apart_found["outcomes"]
    assert "no reduction is called 'x'" in run(BENCH / "two_phase_commit.py", "--without", "x").output


MEASURED = """
import sys
from pathlib import Path
from ptelab.cli import cli
try:
    cli(sys.argv[1:])
finally:
    print(Path("/proc/self/status").read_text())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="nobody says what a process has of memory")
def test_the_limit_on_memory_is_for_the_process() -> None:
    """A process must not have more memory than its user allowed, a twentieth aside."""
    words = [BENCH / "two_phase_commit.py", "--set", "nr_Manager=9", "--no-reduce", "--threads", "1"]
    command = [sys.executable, "-c", MEASURED, "explore", *words, "--memory", "200M"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    most = re.search(r"VmHWM:\s*(\d+) kB", done.stdout)
    assert done.returncode == 3 and most is not None, done.stderr
    assert int(most[1]) <= 200 * 1024 * 1.05


@pytest.mark.parametrize("bits, threads", [(64, 1), (49, 2), (48, 1), (40, 2)])
def test_fingerprints_are_never_complete(bits: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that may have missed a state must not be called complete, nor miss more than the odds allow."""
    monkeypatch.setattr(store, "SLOTS_MIN", 256)  # so that the table grows
    monkeypatch.setattr(engine, "PARALLEL_LEVEL", 4)
    program = (BENCH / "two_phase_commit.py", "--set", "nr_Manager=5", "--no-reduce", "--threads", str(threads))
    result = run(*program, "--fingerprint", str(bits), "--memory", "6G", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["complete"], found["stopped"]) == (3, False, "fingerprint")
    assert (found["fingerprint_bits"], found["states"], found["transitions"]) == (bits, 8_832, 37_345)
    assert found["odds_of_a_missed_state"].startswith("1 in ")


def test_short_fingerprints_miss_states() -> None:
    """The bits must be as few as were asked for; with 16 nearly every state of many is taken for another."""
    program = (BENCH / "two_phase_commit.py", "--set", "nr_Manager=5", "--no-reduce", "--fingerprint", "16")
    result = run(*program)
    assert (
        "!!! incomplete: states were kept as fingerprints of 16 bits: the odds of a missed one are 100% after"
        in result.stdout
    )
    assert result.exit_code == 3 and json.loads(run(*program, "--json").stdout)["states"] < 8_832


def test_what_fingerprints_cannot_do_is_refused(tmp_path: Path) -> None:
    """No option may be ignored."""
    program = (BENCH / "two_phase_commit.py", "--fingerprint", "48")
    assert run(*program, "--engine", "machine").exit_code == run(*program, "--checkpoint", tmp_path).exit_code == 2
