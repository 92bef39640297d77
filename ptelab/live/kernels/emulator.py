# SPDX-License-Identifier: GPL-2.0-only
"""A kernel under QEMU: its only program comes in an initramfs, and says on the serial console what it sees."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from ptelab.live import room
from ptelab.live.kernels.debian import compiler
from ptelab.live.kernels.guest import Broken
from ptelab.live.kernels.versions import Machine

SECONDS = 240.0
"""How long a machine may take."""

STOP = threading.Event()
"""Set to end all machines early."""

_MEMORY = "512"
_INIT = Path(__file__).with_name("init.c")


def build(machine: Machine, to: Path) -> None:
    """Compile init for a machine, with all that it needs.  Raises Broken."""
    command = [compiler(machine), "-O1", "-Wall", "-static", "-o", str(to), str(_INIT)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        problem = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise Broken(f"{command[0]} cannot compile init: {problem} (its C library for static programs is needed)")


def boot(machine: Machine, cpu: str, kernel: Path, init: Path, script: str, seconds: float = SECONDS) -> str:
    """What is said on the console until the machine ends.  Raises Broken."""
    with room.directory() as work:
        initrd = work / "initrd"
        initrd.write_bytes(gzip.compress(_archive({"init": init.read_bytes(), "script": script.encode()}), 1))
        command = [
            "timeout", f"{seconds + 10:.0f}",  # in case that nobody is left to end it
            machine.qemu, *machine.arguments, "-accel", "tcg", "-cpu", machine.cpus[cpu][0], "-smp", "2",
            "-m", _MEMORY, "-nographic", "-nic", "none", "-no-reboot", "-kernel", str(kernel), "-initrd", str(initrd),
            "-append", f"console={machine.console} quiet panic=-1",
        ]  # fmt: skip
        console = work / "console"
        with console.open("wb") as out:
            emulator = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=work,
                start_new_session=True,
            )  # fmt: skip
            try:
                _wait(emulator, seconds)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(emulator.pid, signal.SIGKILL)
                emulator.wait()
        text = console.read_text(encoding="utf-8", errors="replace")
    if keep := os.environ.get("PTELAB_CONSOLE"):
        Path(keep).write_text(text, encoding="utf-8")
    if emulator.returncode > 0:
        raise Broken(f"{machine.qemu} ended with status {emulator.returncode}: {text.strip()[-200:]}")
    return text


def _wait(emulator: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while emulator.poll() is None:
        if time.monotonic() > deadline:
            raise Broken(f"the machine did not end within {seconds:.0f} s")
        if STOP.is_set():
            raise Broken("the machine was stopped")
        time.sleep(0.05)


# The format that cpio calls newc, of which the kernel makes its first file system.
def _archive(files: dict[str, bytes]) -> bytes:
    entries = [("dev", 0o040755, b"", 0, 0), ("dev/console", 0o020600, b"", 5, 1)]
    entries += [(name, 0o100700, data, 0, 0) for name, data in files.items()]
    entries.append(("TRAILER!!!", 0, b"", 0, 0))
    out = b""
    for inode, (name, mode, data, major, minor) in enumerate(entries, 1):
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        out += head.ljust(-(-len(head) // 4) * 4, b"\0") + data.ljust(-(-len(data) // 4) * 4, b"\0")
    return out
