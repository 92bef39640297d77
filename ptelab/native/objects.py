# SPDX-License-Identifier: GPL-2.0-only
"""Compiled code kept on disk, in the user's cache directory, under a hash of everything that it depends on.

Losing an entry costs a compilation; an entry that cannot be read, is not ours or is damaged counts as lost.
`PTELAB_CACHE` names another directory; empty, it switches the cache off.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

BYTES_MAX = 256 << 20
"""When entries are added and all of them together are larger than this, the ones unused for longest go.

A process looks when it adds its first one, and each time that it has added a sixteenth of this.
"""

_unpruned = BYTES_MAX  # bytes that this process has added since it looked

_DIGEST = hashlib.sha256().digest_size


def directory() -> Path | None:
    """Where entries are kept; None when nothing is kept."""
    named = os.environ.get("PTELAB_CACHE")
    if named is not None:
        return Path(named) if named else None
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(home) if home else Path.home() / ".cache") / "ptelab"
    except RuntimeError:  # no home directory
        return None


def key(*parts: str) -> str:
    """The name of an entry that depends on these texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def get(name: str) -> bytes | None:
    """An entry's bytes."""
    where = directory()
    if where is None:
        return None
    path = where / f"{name}.o.z"
    with suppress(OSError, zlib.error):
        if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
            return None
        data = path.read_bytes()
        if hashlib.sha256(data[_DIGEST:]).digest() == data[:_DIGEST]:
            os.utime(path)
            return zlib.decompress(data[_DIGEST:])
    return None


def put(name: str, data: bytes) -> None:
    """Keep an entry, if the disk lets us."""
    where = directory()
    if where is None:
        return
    packed = zlib.compress(data, 1)
    with suppress(OSError):
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=where, prefix=".new")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(packed).digest() + packed)
            os.replace(temporary, where / f"{name}.o.z")
        except OSError:
            os.unlink(temporary)
            raise
        global _unpruned
        _unpruned += len(packed)
        if _unpruned > BYTES_MAX // 16:
            _unpruned = 0
            _prune(where)


def _prune(where: Path) -> None:
    entries = []
    for path in where.glob("*.o.z"):
        with suppress(OSError):  # another process removed it
            status = path.stat()
            entries.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= BYTES_MAX:
            return
        with suppress(OSError):
            path.unlink()
            total -= size
