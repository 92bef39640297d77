# SPDX-License-Identifier: GPL-2.0-only
"""A memory cgroup of our own, below or beside the one that we are in; it goes away with ptelab, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ptelab.live import room
from ptelab.live.column import PAGE, Unable

_TRIES = 20
_BATCH_BYTES = 32 * PAGE  # a limit makes the kernel take so much at a time; asked for all at once, it takes far more
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Group:
    """A cgroup: `unified` is version 2."""

    path: Path
    unified: bool

    def add(self, process: int) -> None:
        """Move a process into it; what it uses from now on is charged to it."""
        (self.path / "cgroup.procs").write_text(str(process), encoding="ascii")

    def usage(self) -> int:
        """How many bytes are charged to it."""
        name = "memory.current" if self.unified else "memory.usage_in_bytes"
        return int((self.path / name).read_text(encoding="ascii"))

    def squeeze(self, size: int) -> None:
        """Let the kernel take so many bytes from it, a batch at a time.  Raises Unable."""
        goal = (self.usage() - size) // PAGE * PAGE
        name = "memory.reclaim" if self.unified else "memory.limit_in_bytes"
        refused = 0
        while refused < _TRIES:
            if self.unified and self.usage() <= goal:
                return
            try:
                (self.path / name).write_text(str(_BATCH_BYTES if self.unified else goal), encoding="ascii")
            except OSError as error:  # what is in use at the moment is passed over
                if error.errno not in (errno.EBUSY, errno.EAGAIN):
                    raise Unable(f"{name}: {error.strerror}") from error
                refused += 1
            else:
                if not self.unified:
                    return
        raise Unable(f"{name}: the kernel does not free {size >> 20} MB")


def _options(words: list[str]) -> set[str]:
    return set(words[words.index("-") + 3].split(","))


# Where the hierarchy is mounted, and which of its directories that is.
def _mount(unified: bool) -> tuple[Path, str] | None:
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        words = line.split()
        kind = words[words.index("-") + 1]
        if kind == "cgroup2" if unified else kind == "cgroup" and "memory" in _options(words):
            return Path(words[4]), words[3]
    return None


def _own(unified: bool) -> str | None:
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" if unified else "memory" in controllers.split(","):
            return path
    return None


def _parent() -> tuple[Path, bool]:
    for unified in (True, False):
        mount, own = _mount(unified), _own(unified)
        if mount is None or own is None:
            continue
        top, root = mount
        here = top / own.removeprefix(root).lstrip("/")
        if not unified:
            return here if here.is_dir() else top, False
        # Only where a parent hands the controller on does a new group have it.
        for place in (here, *here.parents):
            with contextlib.suppress(OSError):
                if "memory" in (place / "cgroup.subtree_control").read_text(encoding="ascii").split():
                    return place, True
            if place == top:
                break
    raise Unable("no cgroup in which memory is counted")


def _remove(path: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while path.is_dir() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # a process in it has not ended yet
            path.rmdir()
            return
        time.sleep(0.01)


@contextlib.contextmanager
def group() -> Iterator[Group]:
    """A new, empty cgroup.  Raises Unable.

    A process of its own removes it when ptelab says so or is no more.
    """
    try:
        parent, unified = _parent()
        path = Path(tempfile.mkdtemp(prefix=f"ptelab-{os.getpid()}-", dir=parent))
    except OSError as error:
        raise Unable(f"no memory cgroup of our own: {error.strerror}") from error
    with room.afterwards(lambda: _remove(path)):
        made = Group(path, unified)
        if unified and not (path / "memory.reclaim").exists():
            raise Unable("this kernel has no memory.reclaim")
        yield made
