# SPDX-License-Identifier: GPL-2.0-only
"""Runs one selftest, and leaves the machine as it was.  A process of its own, which needs nothing of ours.

It outlives whoever started it: when that one ends, for whatever reason, its end of the pipe closes, and then as well as
after the test and at the time limit all processes of the test are killed, settings of the kernel are what they were,
and, if nobody is there any more to do it, the directory is removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

KNOBS = ("/sys/kernel/mm/ksm", "/sys/kernel/mm/transparent_hugepage")
"""Where the settings are that tests alter."""

_KSM_RUN = "/sys/kernel/mm/ksm/run"
_SET_CHILD_SUBREAPER = 36
_NEW_IPC = 0x08000000
_TICK_S = 0.02
_GRACE_S = 5.0


def settings() -> dict[str, str]:
    """The settings and their values, as they are written."""
    found: dict[str, str] = {}
    for root in KNOBS:
        for directory, _, names in os.walk(root):
            for name in sorted(names):
                path = os.path.join(directory, name)
                with contextlib.suppress(OSError):
                    if os.stat(path).st_mode & stat.S_IWUSR:  # root may write what is read-only, too
                        found[path] = _chosen(Path(path).read_text(encoding="ascii"))
    return found


# A file may list all choices, with the one that is taken in brackets.
def _chosen(text: str) -> str:
    words = text.split()
    return next((word[1:-1] for word in words if word[0] + word[-1] == "[]"), text.strip())


def restore(before: Mapping[str, str]) -> list[str]:
    """Write settings that differ from what they were: those that cannot be written."""
    now = settings()
    if before.get(_KSM_RUN) == "0" and now.get(_KSM_RUN) != "0":
        _write(_KSM_RUN, "2")  # what the test's ksmd has merged comes apart
    return [path for path, value in before.items() if now.get(path) != value and not _write(path, value)]


def _write(path: str, value: str) -> bool:
    try:
        Path(path).write_text(value, encoding="ascii")
    except OSError:
        return False
    return True


def run(argv: list[str], directory: Path, seconds: float) -> dict[str, object]:
    """Run a program until it ends, its time is up or standard input is closed; nothing of it is left then.

    What it says is in the files out and err.  The result: its `status`, or why it has none, and the settings that are
    not what they were.
    """
    before = settings()
    libc = ctypes.CDLL(None)
    libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.unshare(_NEW_IPC)  # shared memory of System V goes with it; without the right to, it stays as it is
    alone = False
    with open(directory / "out", "wb") as out, open(directory / "err", "wb") as err:
        child = subprocess.Popen(
            argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        try:
            deadline = time.monotonic() + seconds
            while child.poll() is None and time.monotonic() < deadline and not alone:
                ready, _, _ = select.select([0], [], [], _TICK_S)
                alone = bool(ready) and not os.read(0, 1)
            status = child.poll()
        finally:
            _end(child)
            refused = restore(before)
    return {"status": status, "alone": alone, "refused": refused}


# Kill a program and all that it has started; orphans are ours.
def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) != (0, 0):
                continue
        except ChildProcessError:
            return
        for pid in Path("/proc/thread-self/children").read_text(encoding="ascii").split():
            os.kill(int(pid), signal.SIGKILL)
        time.sleep(_TICK_S)


def main() -> None:
    """Run what standard input says, in JSON."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    order = json.loads(_line())
    directory = Path(order["directory"])
    result = run(order["argv"], directory, order["seconds"])
    if result["alone"]:
        shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(result), flush=True)


def _line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            sys.exit(0)
        line += part
    return line


if __name__ == "__main__":
    main()
