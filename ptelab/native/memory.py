# SPDX-License-Identifier: GPL-2.0-only
"""Memory that native code can reach."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
import zlib
from collections.abc import Sequence
from typing import IO

HUGE = 2 << 20
LINE = 64


def resident_bytes() -> int:
    """What this process has of the machine's memory; 0 where nobody says."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return 0


class Words:
    """A few words, in cache lines that nothing else lies in: what one worker writes, no other should wait for."""

    def __init__(self, count: int) -> None:
        size = -(-8 * max(count, 1) // LINE) * LINE
        self._room = (ctypes.c_char * (size + LINE))()
        skipped = -ctypes.addressof(self._room) % LINE
        self.array = (ctypes.c_uint64 * max(count, 1)).from_buffer(self._room, skipped)
        self.address = ctypes.addressof(self.array)

    def fill(self, first: int, values: Sequence[int]) -> None:
        self.array[first : first + len(values)] = list(values)

    def __getitem__(self, index: int) -> int:
        return self.array[index]

    def __setitem__(self, index: int, value: int) -> None:
        self.array[index] = value


class Map:
    """Zeroed memory of which only what is touched is used."""

    def __init__(self, size: int, huge: bool = False) -> None:
        self.bytes = -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
        self._map = mmap.mmap(-1, self.bytes, flags=flags)
        if huge and self.bytes >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # a kernel without huge pages
                self._map.madvise(mmap.MADV_HUGEPAGE)
        self._view = ctypes.c_char.from_buffer(self._map)
        self.address = ctypes.addressof(self._view)
        self.released = 0

    def word(self, index: int) -> int:
        return int.from_bytes(self._map[8 * index : 8 * index + 8], sys.byteorder)

    def rows(self, count: int, width: int) -> list[list[int]]:
        """Of so many rows of words those that do not begin with 0."""
        with memoryview(self._map) as view, view[: 8 * count * width].cast("Q") as words, words[::width] as firsts:
            found = [row for row, first in enumerate(firsts.tolist()) if first]
            return [words[width * row : width * (row + 1)].tolist() for row in found]

    def put(self, index: int, value: int) -> None:
        self._map[8 * index : 8 * index + 8] = value.to_bytes(8, sys.byteorder)

    def move(self, source: int, target: int, count: int) -> None:
        """Copy some bytes of it to another place in it."""
        self._map.move(target, source, count)

    def release(self, end: int) -> None:
        """Give back the memory before byte `end`, which nobody will read again, in pieces of some size."""
        end -= end % HUGE
        if end > self.released and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, self.released, end - self.released)
            self.released = end

    def release_part(self, start: int, end: int) -> None:
        """Give back the huge pages within these bytes."""
        start, end = -(-start // HUGE) * HUGE, end // HUGE * HUGE
        if start < end and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, start, end - start)

    def write_to(self, file: IO[bytes], start: int, end: int, check: int) -> int:
        """Write some bytes of it to a file; the checksum of all until there."""
        with memoryview(self._map) as view, view[start:end] as part:
            file.write(part)
            return zlib.crc32(part, check)

    def read_from(self, file: IO[bytes], start: int, end: int, check: int) -> int:
        """Read them back; EOFError when the file is too short."""
        with memoryview(self._map) as view:
            while start < end:
                with view[start : min(end, start + (1 << 30))] as part:
                    got = file.readinto(part)  # type: ignore[attr-defined]
                    check = zlib.crc32(part[:got], check)
                if not got:
                    raise EOFError("it is too short")
                start += got
        return check

    def clear(self) -> None:
        """Make all of it zero again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
        else:
            ctypes.memset(self.address, 0, self.bytes)

    def close(self) -> None:
        del self._view
        self._map.close()
