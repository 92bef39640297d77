# SPDX-License-Identifier: GPL-2.0-only
"""A search on disk, from which it can go on after a limit, an interrupt or the loss of the process.

The file is a line of JSON, which says whose search this is and how long everything is, then the memory itself, and a
checksum.  It is written beside the old one and takes its name when it is whole.  What the memo remembers is found out
again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from ptelab.native import explorer as x
from ptelab.native.memory import Map
from ptelab.native.store import Store
from ptelab.scenario import Scenario

VERSION = 2
FIRST_AFTER_S = 60.0
SHARE = 20  # writing may take one part in so many of the time


class CheckpointError(ValueError):
    """The file cannot be used; the text says why."""


def identity(scenario: Scenario) -> str:
    """Differs whenever a search of the scenario, or the code that searches, does."""
    digest = hashlib.sha256(repr(replace(scenario, reductions=frozenset())).encode())
    digest.update(" ".join(sorted(scenario.reductions)).encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(slots=True)
class Progressed:
    """Where a search stands besides what its store holds."""

    low: int  # the level being expanded: records low … high − 1
    high: int
    depth: int


class Checkpoint:
    """The file of one scenario's search in a directory; another scenario or version has another file."""

    def __init__(self, directory: Path, scenario: Scenario) -> None:
        self.identity = identity(scenario)
        self.path = directory / f"{scenario.name}.{self.identity[:16]}.checkpoint"
        self._due = time.monotonic() + FIRST_AFTER_S

    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() > self._due

    def remove(self) -> None:
        """The search is complete: nobody will go on from here."""
        self.path.unlink(missing_ok=True)

    def write(self, store: Store, at: Progressed, groups: int) -> str:
        """Write everything down, and say where, or why not.  No worker may be at work."""
        started = time.monotonic()
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    header = json.dumps(self._header(store, at, groups)).encode() + b"\n"
                    file.write(header)
                    check = zlib.crc32(header)
                    for memory, start, end in _sections(store, store.pending_from(at.low)):
                        check = memory.write_to(file, start, end, check)
                    file.write(check.to_bytes(4, "little"))
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self.path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            return f"no checkpoint: {self.path} cannot be written: {error.strerror}"
        finally:
            now = time.monotonic()
            self._due = now + max(FIRST_AFTER_S, SHARE * (now - started))
        return f"checkpoint in {self.path}; the same command with --resume goes on there"

    def _header(self, store: Store, at: Progressed, groups: int) -> dict[str, Any]:
        return {
            "version": VERSION, "identity": self.identity, "groups": groups, "first": store.pending_from(at.low),
            "at": {"low": at.low, "high": at.high, "depth": at.depth}, **store.summary(),
        }  # fmt: skip

    def groups(self) -> int:
        """How coarsely the search groups threads; 0 when there is no file.  Raises CheckpointError."""
        try:
            with self.path.open("rb") as file:
                return int(self._header_of(file)["groups"])
        except FileNotFoundError:
            return 0
        except (OSError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self.path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None

    def read(self, store: Store) -> Progressed | None:
        """Fill a new store; None when there is no file.  Raises CheckpointError."""
        try:
            with self.path.open("rb") as file:
                header = self._header_of(file)
                store.restore(header)
                check = zlib.crc32(self._first_line())
                for memory, start, end in _sections(store, header["first"]):
                    check = memory.read_from(file, start, end, check)
                if file.read(5) != check.to_bytes(4, "little"):
                    raise EOFError("it is damaged")
                store.restored(header)
                return Progressed(**header["at"])
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, EOFError) as error:
            raise CheckpointError(f"{self.path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None

    def _first_line(self) -> bytes:
        with self.path.open("rb") as file:
            return file.readline(1 << 24)

    def _header_of(self, file: IO[bytes]) -> dict[str, Any]:
        header = _read_header(file, self.path)
        if header["identity"] != self.identity:
            raise CheckpointError(f"{self.path}: of another program, model or version")
        return header


def _read_header(file: IO[bytes], path: Path) -> dict[str, Any]:
    try:
        header = json.loads(file.readline(1 << 24))
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise CheckpointError(f"{path}: no checkpoint of this version")
    return header


def _sections(store: Store, first: int) -> Iterator[tuple[Map, int, int]]:
    """Memory and the bytes of it that are kept."""
    end = store.control[x.END]
    yield store.table, 0, 8 * store.slots
    yield store.meta, 0, 8 * end
    yield store.queue, 8 * first, 8 * end
    if store.control[x.HIGH_BITS]:
        yield store.highs, 2 * first, 2 * end
    yield from store.kept_contents()
