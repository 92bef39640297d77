# SPDX-License-Identifier: GPL-2.0-only
"""Other checkers must find in exported models what ours finds in the originals: the same states, the same verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench import peers
from ptelab import bundled, checking, programs
from ptelab.checking import Options
from ptelab.cli import cli
from ptelab.commands.export import LANGUAGES, plan_of
from ptelab.litmus.build import read
from ptelab.scenario import Scenario

BENCH = Path(__file__).parents[1] / "bench"
MODELS = [("two_phase_commit", ""), ("peterson", ""), ("munmap+store_after", ""), ("store+writeback", ""),
          ("store+writeback", "mutant-clean-without-flush")]  # fmt: skip


def scenario(name: str, patch: str = "") -> Scenario:
    """A program under bench/ or a litmus test, without reductions."""
    if (BENCH / f"{name}.py").exists():
        return programs.read(BENCH / f"{name}.py", {}, frozenset())
    patches = (bundled.patch_path(patch),) if patch else ()
    test = read(bundled.directory("litmus") / f"{name}.litmus").on("x86_64")
    return checking.prepare(test, Options(reduce=False, patches=patches)).scenario


def written(tmp_path: Path, of: Scenario, language: str) -> Path:
    write, suffix = LANGUAGES[language]
    path = tmp_path / f"model{suffix}"
    path.write_text(write(plan_of(of), path.name, "check"), encoding="utf-8")
    return path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["export", *(str(w) for w in words)])


@pytest.mark.skipif(bool(peers.missing(*peers.Spin.needs)), reason=f"not installed: {peers.missing(*peers.Spin.needs)}")
@pytest.mark.parametrize("name, patch", MODELS)
def test_spin_explores_the_same_graph(name: str, patch: str, tmp_path: Path) -> None:
    """SPIN may find no state, transition, flag, outcome or situation that we do not find, nor miss one."""
    of = scenario(name, patch)
    ours = checking.explore_scenario(of, Options(memory_bytes=1 << 30))
    theirs = peers.Spin(written(tmp_path, of, "promela"), optimise="-O0").run()
    assert theirs.complete, theirs.problem
    assert theirs.states == ours.states
    assert theirs.transitions == ours.transitions
    assert theirs.flags == set(ours.flags)
    assert theirs.outcomes == set(ours.outcomes)
    assert theirs.reached == ours.reached


def test_export_says_how_the_model_is_run(tmp_path: Path) -> None:
    """A model that nobody knows how to run is no model."""
    for language, (_, suffix) in LANGUAGES.items():
        file = tmp_path / f"m{suffix}"
        assert run("--to", language, BENCH / "two_phase_commit.py", "--set", "nr_Manager=4", "-o", file).exit_code == 0
        text = file.read_text(encoding="utf-8")
        assert file.name in text and "--set nr_Manager=4 --no-reduce" in text


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
