# SPDX-License-Identifier: GPL-2.0-only
"""SPIN and Rumur on exported models: building and running them, and reading what they say."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
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
    seconds: float = 0.0  # of the processor: other work on the machine does not count
    elapsed: float = 0.0
    memory_bytes: int = 0  # the most that the process had


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
        text, result = _timed(pinned(cpu, ["./pan", f"-w{hash_bits}", f"-m{depth}"]), self.directory, time_s)
        result.build_seconds = self.build_seconds
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
        if "hash-compact" in text.lower() or "bit-state" in text.lower():
            result.complete, result.problem = False, "not exact"
        read_report(text, result)
        return result


class Rumur:
    """A model compiled by Rumur: exact."""

    needs = ("rumur", "gcc", "stdbuf")

    def __init__(self, model: Path, *, optimise: str = "-O2", threads: int = 1) -> None:
        started = time.monotonic()
        self.directory = model.parent / f"{model.stem}.rumur{threads}"
        self.directory.mkdir(exist_ok=True)
        # Rumur copies its syntax tree often; without glibc's fast bins that takes a third of the time.
        tuned = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.mxfast=0"}
        generate = ["rumur", "--deadlock-detection", "off", "--threads", str(threads), "-o", "m.c"]
        _run([*generate, str(model.resolve())], self.directory, tuned)
        _run(["gcc", "-std=c11", optimise, "-w", "-mcx16", "-o", "m", "m.c", "-lpthread"], self.directory)
        self.build_seconds = time.monotonic() - started

    def run(self, *, cpu: int | None = None, time_s: float = 600) -> Result:
        """Explore; as far as was said last when the time is over."""
        text, result = _timed(pinned(cpu, ["stdbuf", "-oL", "./m"]), self.directory, time_s)
        result.build_seconds = self.build_seconds
        if result.problem == "time":
            said = re.findall(r"^.*?(\d+) states explored in .*? with (\d+) rules fired", text, re.MULTILINE)
            result.states, result.transitions = (int(n) for n in said[-1]) if said else (0, 0)
            return result
        found = re.search(r"^\s*(\d+) states, (\d+) rules fired", text, re.MULTILINE)
        if found is None or "No error found" not in text:
            result.complete, result.problem = False, result.problem or text.strip()[-200:]
            return result
        result.states = int(found[1])
        result.flags = set(re.findall(r"ptelab: flag (\w+)", text))
        # Rules that were taken back count as fired if they get so far, so that flags are in it.
        result.transitions = int(found[2])
        for values in re.findall(r"ptelab: outcome\n((?:\s|r\[\d+\]:-?\d+)*)ptelab: end", text):
            result.outcomes.add(tuple(int(v) for v in re.findall(r"\]:(-?\d+)", values)))
        return result


def read_report(text: str, result: Result) -> None:
    """What the exported model itself prints."""
    result.flags |= set(re.findall(r"ptelab: flag (\w+)", text))
    result.reached |= set(re.findall(r"ptelab: reached (\w+)", text))
    for values in re.findall(r"ptelab: outcome((?: -?\d+)*) *$", text, re.MULTILINE):
        result.outcomes.add(tuple(int(v) for v in values.split()))


def _run(command: list[str], directory: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=1800)
    if done.returncode != 0 or "Error:" in done.stdout + done.stderr:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr + done.stdout).strip()[:1000]}")


def _timed(command: list[str], directory: Path, time_s: float) -> tuple[str, Result]:
    """What a command prints, and a result with what it took of the processor and of memory."""
    result = Result()
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=subprocess.STDOUT)
        # Interrupted, pan says how far it has come.
        timers = [threading.Timer(time_s, process.send_signal, [signal.SIGINT])]
        timers.append(threading.Timer(time_s + 20, process.kill))
        for timer in timers:
            timer.start()
        ended = threading.Event()
        watch = threading.Thread(target=_watch_memory, args=(process.pid, result, ended))
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            for timer in timers:
                timer.cancel()
            ended.set()
            watch.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode < 0:
        result.complete, result.problem = False, "time" if time.monotonic() - started >= time_s else "killed"
    result.seconds = usage.ru_utime + usage.ru_stime
    result.elapsed = time.monotonic() - started
    return text, result


# What the kernel says of a child that has ended includes the memory of this process, which it was forked from.
def _watch_memory(pid: int, result: Result, ended: threading.Event) -> None:
    while not ended.wait(0.02):
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        except OSError:
            return
        if found := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
            result.memory_bytes = int(found[1]) << 10
