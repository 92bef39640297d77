# SPDX-License-Identifier: GPL-2.0-only
"""What has to be cleared away when ptelab ends, however that comes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

_END = 3


@contextlib.contextmanager
def afterwards(clear: Callable[[], object]) -> Iterator[None]:
    """Let a process of its own do something at the end, or when ptelab is no more."""
    end, alive = os.pipe()
    keeper = os.fork()
    if not keeper:
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            # Nothing else stays open here: whoever waits for the end of a pipe, as `subprocess` in another thread does
            # while it starts a process, would wait for this one.
            os.dup2(end, _END)
            os.closerange(_END + 1, os.sysconf("SC_OPEN_MAX"))
            os.read(_END, 1)
            clear()
        finally:
            os._exit(0)
    os.close(end)
    try:
        yield
    finally:
        os.close(alive)
        os.waitpid(keeper, 0)


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A new directory."""
    path = Path(tempfile.mkdtemp(prefix="ptelab-"))
    with afterwards(lambda: shutil.rmtree(path, ignore_errors=True)):
        yield path
