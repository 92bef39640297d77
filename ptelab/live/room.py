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
            os.close(alive)
            os.read(end, 1)
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
