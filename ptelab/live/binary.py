# SPDX-License-Identifier: GPL-2.0-only
"""The agent as an executable in memory, and its processes."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from ptelab.live import program
from ptelab.live.architectures import ENTRY, Architecture
from ptelab.native.lowlevel import translate
from ptelab.native.standalone import BASE, Target, executable

_ROUTINES = {"sys6": "system_call", "try_load": "load", "try_store": "store", "spawn": "spawn", "relax": "relax"}
_SPINS_MAX = 2000
_SET_PDEATHSIG = 1


_made: dict[str, bytes] = {}


def agent(machine: Architecture) -> bytes:
    """The executable for an architecture."""
    if machine.triple not in _made:
        _made[machine.triple] = _make(machine)
    return _made[machine.triple]


def _make(machine: Architecture) -> bytes:
    constants = {
        "ALL_ONES": (1 << 64) - 1, "CONTROL": program.CONTROL, "CONTROL_FD": program.CONTROL_FD,
        "NEVER": program.NEVER, "PROGRAMS_MAX": program.PROGRAMS_MAX,
        "STACKS": program.STACKS, "STACK_BYTES": program.STACK_BYTES,
        "REGISTERS": program.REGISTERS, "REGISTERS_MAX": program.REGISTERS_MAX, "ACTION": program.ACTION,
        "SIGNAL": program.SIGNAL, "RANDOM": program.RANDOM, "SPINS_MAX": _SPINS_MAX,
        "HANDLER": BASE + machine.offsets["handler"], "RESTORER": BASE + machine.offsets.get("restorer", 0),
    }  # fmt: skip
    constants |= {f"SYS_{name}": number for name, number in machine.numbers.items()}
    constants |= {f"OP_{name}": number for name, number in program.NUMBER.items()}
    external = {name: _address(machine, routine) for name, routine in _ROUTINES.items()}
    source = Path(__file__).with_name("agent.py").read_text(encoding="utf-8")
    target = Target(machine.triple, machine.elf_machine, machine.routines, machine.offsets["start"], ENTRY)
    return executable(translate(source, constants, external), target)


def _address(machine: Architecture, routine: str) -> str:
    return f"inttoptr (i64 {BASE + machine.offsets[routine]} to ptr)"


class Hung(Exception):
    """The agent did not come to an end."""


class Crashed(Exception):
    """The agent ended otherwise than it should."""


def reserve() -> None:
    """Keep the number free that the agent's memory has as a descriptor: nothing that it inherits may have it."""
    try:
        os.fstat(program.CONTROL_FD)
    except OSError:
        fd = os.open(os.devnull, os.O_RDONLY)
        os.dup2(fd, program.CONTROL_FD, inheritable=False)
        os.close(fd)


def start(image: bytes, shared_fd: int, cpus: set[int] | None = None) -> int:
    """Start the agent in a process group of its own: the number of the process."""
    fd = os.memfd_create("ptelab-agent")
    os.write(fd, image)
    child = os.fork()
    if child:
        os.close(fd)
        return child
    try:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if cpus:
            os.sched_setaffinity(0, cpus)
        os.dup2(shared_fd, program.CONTROL_FD)
        os.execve(fd, ["ptelab-agent"], {})
    finally:
        os._exit(97)


def patience(seconds: float) -> Callable[[], None]:
    """What ends the wait for an agent that does not end: raises Hung after so long."""
    deadline = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > deadline:
            raise Hung("the agent did not come to an end")

    return check


def finish(child: int, meanwhile: Callable[[], None]) -> None:
    """Wait until the agent has ended.  Raises Crashed and what `meanwhile` raises; nothing is left of it either way."""
    try:
        while True:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                child = 0
                if status:
                    raise Crashed(f"the agent ended with status {os.waitstatus_to_exitcode(status)}")
                return
            meanwhile()
            time.sleep(0.002)
    finally:
        if child:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
