# SPDX-License-Identifier: GPL-2.0-only
"""SPIN and Rumur on exported models: building and running them, and reading what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Result:
    """What a checker says of a model."""

    states: int = 0
    transitions: int = 0  # those that raise a flag included; 0 when the checker does not count them in our way
    flags: set[str] = field(default_factory=set)
    outcomes: set[tuple[int, ...]] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)
    complete: bool = True
    problem: str = ""
    build_seconds: float = 0.0
    seconds: float = 0.0
    memory_bytes: int = 0


def missing(*programs: str) -> str:
    """Which of the programs are not installed; empty when all are."""
    return ", ".join(p for p in programs if shutil.which(p) is None)


def pinned(cpu: int | None, command: list[str]) -> list[str]:
    """The command, bound to one CPU if that is wanted."""
    return command if cpu is None else ["taskset", "-c", str(cpu), *command]


class Spin:
    """A model compiled by SPIN: exact, all states stored in full."""

    needs = ("spin", "gcc")

    def __init__(
        self, model: Path, *, reduce: bool = False, deadlocks: bool = True, optimise: str = "-O2", memory_mb: int = 4096
    ) -> None:
        started = time.monotonic()
        self.directory = model.parent / f"{model.stem}.{'por' if reduce else 'full'}"
        self.directory.mkdir(exist_ok=True)
        _run(["spin", "-a", str(model.resolve())], self.directory)
        options = ["-DSAFETY", "-DNOFAIR", f"-DMEMLIM={memory_mb}", *re.findall(r"-DVECTORSZ=\d+", model.read_text())]
        options += [] if reduce else ["-DNOREDUCE"]
        options += [] if deadlocks else ["-DNODEADLOCK"]
        _run(["gcc", optimise, "-w", *options, "-o", "pan", "pan.c"], self.directory)
        self.build_seconds = time.monotonic() - started

    def run(
        self, *, hash_bits: int = 22, depth: int = 2_000_000, cpu: int | None = None, time_s: float = 600
    ) -> Result:
        """Explore; incomplete when the search met one of pan's limits."""
        started = time.monotonic()
        text = _output(pinned(cpu, ["./pan", f"-w{hash_bits}", f"-m{depth}"]), self.directory, time_s)
        result = Result(build_seconds=self.build_seconds, seconds=time.monotonic() - started)
        if text is None:
            result.complete, result.problem = False, "time"
            return result
        states = re.search(r"^\s*(\S+) states, stored", text, re.MULTILINE)
        moves = re.search(r"^\s*(\S+) transitions", text, re.MULTILINE)
        for words in ("max search depth too small", "out of memory", "Search not completed", "VECTORSZ is too small"):
            if words in text:
                result.complete, result.problem = False, words
        if states is None or moves is None:
            result.complete, result.problem = False, result.problem or text.strip()[-200:]
            return result
        flagged = re.search(r"^ptelab: (\d+) moves raised a flag", text, re.MULTILINE)
        result.states = int(float(states[1]))
        result.transitions = int(float(moves[1])) - 1 + (int(flagged[1]) if flagged else 0)
        if elapsed := re.search(r"pan: elapsed time (\S+) seconds", text):
            result.seconds = float(elapsed[1])
        if memory := re.search(r"^\s*(\S+)\s+total actual memory usage", text, re.MULTILINE):
            result.memory_bytes = int(float(memory[1]) * (1 << 20))
        if "hash-compact" in text.lower() or "bit-state" in text.lower():
            result.complete, result.problem = False, "not exact"
        read_report(text, result)
        return result


def read_report(text: str, result: Result) -> None:
    """What the exported model itself prints."""
    result.flags |= set(re.findall(r"ptelab: flag (\w+)", text))
    result.reached |= set(re.findall(r"ptelab: reached (\w+)", text))
    for values in re.findall(r"ptelab: outcome((?: -?\d+)*) *$", text, re.MULTILINE):
        result.outcomes.add(tuple(int(v) for v in values.split()))


def _run(command: list[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=900)
    if done.returncode != 0 or "Error:" in done.stdout + done.stderr:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr + done.stdout).strip()[:1000]}")


def _output(command: list[str], directory: Path, time_s: float) -> str | None:
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=time_s)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout + done.stderr
