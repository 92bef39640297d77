# SPDX-License-Identifier: GPL-2.0-only
"""Keeps settings of the kernel, and leaves the machine as it was.  A process of its own, which needs nothing of ours.

It outlives whoever started it: when that one ends, for whatever reason, its end of the pipe closes, and settings are
what they were.  It is asked in one line of JSON to do one of three things.

- `argv`: run a selftest, which alters settings.  After it and at the time limit, too, all processes of the test are
  killed, and, if nobody is there any more to do it, its directory is removed.
- `knobs`: let ksmd run for us alone, with these settings, until the pipe closes.
- `swap`: have some swap, as large as `bytes` says, in a file or in memory, until the pipe closes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

KNOBS = ("/sys/kernel/mm/ksm", "/sys/kernel/mm/transparent_hugepage")
"""Where the settings are that tests alter."""

KSM = Path("/sys/kernel/mm/ksm")
SWAPS = "/proc/swaps"
_KSM_RUN = str(KSM / "run")
_ZRAM = Path("/sys/class/zram-control")
_SWAP_MAGIC = b"SWAPSPACE2"
_SET_CHILD_SUBREAPER = 36
_NEW_IPC = 0x08000000
_TICK_S = 0.02
_GRACE_S = 5.0
BUSY_S = 60.0
_FORGET_S = 1.0


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


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


@contextlib.contextmanager
def alone(seconds: float, path: str = _KSM_RUN, shared: bool = False) -> Iterator[bool]:
    """Be the only one that alters how KSM runs, or something else, if others give way within some seconds.

    Shared: let nobody alter it.  Where there is nothing to alter, all may.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        yield True
        return
    try:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:
                yield False
                return
            time.sleep(_TICK_S)
        yield True
    finally:
        os.close(fd)


# --------------------------------------------------------------------------------------------------- KSM


def merging_elsewhere() -> str:
    """Why ksmd would not run for us alone; empty if it would."""
    if not KSM.is_dir():
        return "the kernel has no KSM"
    if _read(KSM / "run").strip() != "0":
        return "KSM is on: its pace is not ours to set"
    if any(_read(KSM / name).strip() not in ("", "0") for name in ("pages_shared", "pages_sharing")):
        return "KSM has merged pages of others"
    names = sorted({_read(process / "comm").strip() or "?" for process in _processes() if _mergeable(process)})
    return f"KSM would merge memory of {', '.join(names)}" if names else ""


def _processes() -> list[Path]:
    return [path for path in Path("/proc").iterdir() if path.name.isdigit()]


# Whether a process wants that its memory is merged.  Older kernels say so only of each mapping.
def _mergeable(process: Path) -> bool:
    words = dict(line.split()[:2] for line in _read(process / "ksm_stat").splitlines() if len(line.split()) > 1)
    if "ksm_mergeable:" in words:
        return "yes" in (words["ksm_mergeable:"], words.get("ksm_merge_any:"))
    return any(line.startswith("VmFlags:") and " mg" in line for line in _read(process / "smaps").splitlines())


def hold(knobs: Mapping[str, str]) -> dict[str, object]:
    """Let ksmd run with some settings, until standard input is closed.

    The result says `why` when that cannot be, or which settings are not what they were.
    """
    with alone(_GRACE_S) as ours:
        if why := merging_elsewhere() if ours else "somebody else lets it run":
            return {"why": why}
        before = {path: _read(Path(path)).strip() for path in knobs if os.path.exists(path)}
        try:
            refused = [path for path in before if not _write(path, knobs[path])]
            if refused:
                return {"why": f"{refused[0]} cannot be written"}
            print(json.dumps({"ready": True}), flush=True)
            while os.read(0, 1):
                pass
            _forget()
        finally:
            left = [path for path, value in reversed(before.items()) if not _write(path, value)]
    return {"refused": left}


# Let ksmd go through its lists until it knows no page any more: the processes that had them have ended.  Otherwise it
# would keep what is left of them until somebody lets it run again.
def _forget() -> None:
    deadline = time.monotonic() + _FORGET_S
    looks, idle = _read(KSM / "full_scans"), 0
    pace = int(_read(KSM / "sleep_millisecs"))
    while time.monotonic() < deadline and idle < 5:
        pace ^= 1
        _write(str(KSM / "sleep_millisecs"), str(pace))
        time.sleep(_TICK_S)
        now = _read(KSM / "full_scans")
        idle = idle + 1 if now == looks else 0  # it does not count when there is nothing to go through
        looks = now


# -------------------------------------------------------------------------------------------------- swap


def swap(kind: str, directory: str | None, size: int) -> dict[str, object]:
    """Have some swap in a file of a directory, or in memory, until standard input is closed.

    The result says `why` when that cannot be, or what is left of it.
    """
    with alone(BUSY_S, SWAPS) as ours:
        return _swap(kind, directory, size) if ours else {"why": "somebody else has some for long"}


def _swap(kind: str, directory: str | None, size: int) -> dict[str, object]:
    with _swap_file(directory, size) if kind == "file" else _swap_memory(size) as (path, why):
        if why := why or _swap_header(path, size) or _swap_call("swapon", path, 0):
            return {"why": why}
        left = ""
        try:
            print(json.dumps({"ready": True, "path": path}), flush=True)
            while os.read(0, 1):
                pass
        finally:
            left = _swap_call("swapoff", path)
    return {"refused": [f"{path}, which swapoff left: {left}"] if left else []}


# A file with a name, so that whoever finds it can do what we could not.
@contextlib.contextmanager
def _swap_file(directory: str | None, size: int) -> Iterator[tuple[str, str]]:
    place = tempfile.mkdtemp(prefix="ptelab-swap-", dir=directory)
    path = os.path.join(place, "swap")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
            why = ""
        except OSError as error:
            why = error.strerror or "no room"
        finally:
            os.close(fd)
        yield path, why
    finally:
        shutil.rmtree(place, ignore_errors=True)  # a file that is still in use for swap cannot be removed


# A device in memory, which is ours alone.
@contextlib.contextmanager
def _swap_memory(size: int) -> Iterator[tuple[str, str]]:
    number = ""
    try:
        number = (_ZRAM / "hot_add").read_text(encoding="ascii").strip()
        Path(f"/sys/block/zram{number}/disksize").write_text(str(size), encoding="ascii")
        why = ""
    except OSError as error:
        why = "the kernel has none" if error.errno == errno.ENOENT else error.strerror or "it is refused"
    try:
        yield f"/dev/zram{number}", why
    finally:
        if number and _write(f"/sys/block/zram{number}/reset", "1"):
            _write(str(_ZRAM / "hot_remove"), number)


def _swap_header(path: str, size: int) -> str:
    page = mmap.PAGESIZE
    header = struct.pack("<1024x3I", 1, size // page - 1, 0).ljust(page - len(_SWAP_MAGIC), b"\0") + _SWAP_MAGIC
    try:
        fd = os.open(path, os.O_RDWR)
        try:
            os.pwrite(fd, header, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        return error.strerror or "it cannot be written"
    return ""


# Why a system call has failed; empty when it has not.
def _swap_call(name: str, path: str, *args: int) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    while getattr(libc, name)(path.encode(), *args):
        if ctypes.get_errno() != errno.EINTR:
            return f"{name}: {os.strerror(ctypes.get_errno())}"
    return ""


# --------------------------------------------------------------------------------------------- selftests


def run(argv: list[str], directory: Path, seconds: float) -> dict[str, object]:
    """Run a program until it ends, its time is up or standard input is closed; nothing of it is left then.

    What it says is in the files out and err.  The result: its `status`, or why it has none, and the settings that are
    not what they were.
    """
    with alone(BUSY_S) as ours:
        return _run(argv, directory, seconds) if ours else {"status": None, "refused": [f"{_KSM_RUN} is in use"]}


def _run(argv: list[str], directory: Path, seconds: float) -> dict[str, object]:
    before = settings()
    libc = ctypes.CDLL(None)
    libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.unshare(_NEW_IPC)  # shared memory of System V goes with it; without the right to, it stays as it is
    left = False
    with open(directory / "out", "wb") as out, open(directory / "err", "wb") as err:
        child = subprocess.Popen(
            argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        try:
            deadline = time.monotonic() + seconds
            while child.poll() is None and time.monotonic() < deadline and not left:
                ready, _, _ = select.select([0], [], [], _TICK_S)
                left = bool(ready) and not os.read(0, 1)
            status = child.poll()
        finally:
            _end(child)
            refused = restore(before)
    return {"status": status, "left": left, "refused": refused}


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


def start(order: Mapping[str, object]) -> subprocess.Popen[str]:
    """A keeper that was told what to do."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    return process


def end(process: subprocess.Popen[str]) -> None:
    """Tell a keeper that nobody needs it any more, and wait until all is as it was."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    process.wait()
    process.stdout.close()


def main() -> None:
    """Do what standard input says, in JSON."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    order = json.loads(_line())
    if "knobs" in order:
        result = hold(order["knobs"])
    elif "swap" in order:
        result = swap(order["swap"], order["directory"], order["bytes"])
    else:
        directory = Path(order["directory"])
        result = run(order["argv"], directory, order["seconds"])
        if result.get("left"):
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
