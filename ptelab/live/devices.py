# SPDX-License-Identifier: GPL-2.0-only
"""What columns do to user memory by other ways than accesses: userfaultfd, PAGEMAP_SCAN, vmsplice, and devices.

Each way needs something that is opened before the column meets the others and closed behind it.  A device that has a
page for some time is io_uring, which pins to write; one that has it for a single transfer is process_vm_readv or
process_vm_writev, which pin, transfer and unpin.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING

from ptelab.litmus import syntax as s
from ptelab.live import forking
from ptelab.live.forking import ForkEvents, forks_registered
from ptelab.live.program import WORD, Arg, Reg
from ptelab.live.reading import ReadingPin, is_reading

if TYPE_CHECKING:
    from ptelab.live.column import ColumnCompiler

_PAGE = 4096
_UFFD_API, _UFFDIO_API, _UFFDIO_REGISTER, _UFFDIO_WRITEPROTECT = 0xAA, 0xC018AA3F, 0xC020AA00, 0xC018AA06
_UFFD_FEATURE_PAGEFAULT_FLAG_WP = 1
UFFD_FEATURE_WP_ASYNC = 1 << 15
_UFFDIO_REGISTER_MODE_WP = 2
UFFD_FLAGS = 0o2000001  # O_CLOEXEC, UFFD_USER_MODE_ONLY: faults of the kernel need more rights

_OFF_SQES = 0x10000000
_REGISTER_BUFFERS, _UNREGISTER_BUFFERS = 0, 1
_READ_FIXED, _WRITE_FIXED = 4, 5
_GETEVENTS = 1
_BOTH_HALVES = 1 + (1 << 32)  # a head and a tail that are equal
_MAP_SHARED_POPULATE = 0x8001
_PROT_RW = 3
_SQ_BYTES = 120

PAGEMAP_SCAN = 0xC0606610
_PM_SCAN_WORDS = 12
_PM_SCAN_WP_MATCHING = 1
_PAGE_IS_WRITTEN = 2
_REGION_WORDS = 3
_CLOEXEC = 0o2000000

_UFFD_CALLS = ("uffdio_register", "uffdio_writeprotect")
_PIPE_CALLS = ("get_user_pages", "vmsplice")
_PUTS = ("put_user_pages", "put_user_pages_dirty")
_DEVICE_CALLS = ("pin_user_pages", "device_read", "device_write", *_PUTS)
CALLS = (*_UFFD_CALLS, *_PIPE_CALLS, "read_pipe", "pagemap_scan", *_DEVICE_CALLS)


class Devices:
    """The calls of one column; `prepare` and `finish` stand around it in the program."""

    def __init__(self, column: ColumnCompiler, statements: list[s.Call]) -> None:
        calls = [call.name for call in statements]
        self.column, self.program = column, column.program
        self.shared = column.stage.shared
        self.uses_uffd = any(name in calls for name in _UFFD_CALLS)
        self.uses_pipe = any(name in calls for name in _PIPE_CALLS)
        self.uses_scan = "pagemap_scan" in calls
        self.transfer = transfer(statements)
        self.data = [call.args[0] for call in statements if call.name == "device_write"]
        self.reader = ReadingPin(column) if not self.transfer and is_reading(statements) else None
        self.forks = ForkEvents(column) if forks_registered(statements) else None
        if self.forks:
            column.stage.forks |= dict.fromkeys(column.test.children, self.forks)
        self.uses_ring = "pin_user_pages" in calls and not self.transfer and not self.reader
        self.uffd, self.pagemap, self.pipe, self.io_uring = (self.program.reg() for _ in range(4))
        self.ring, self.sqe = self.program.reg(), self.program.reg()
        self.count = self.program.reg()  # of what the device has done
        self.buffer = self.shared.words(16)
        abilities = column.stage.abilities
        if self.uses_uffd and abilities.userfaultfd:
            raise column.unable(f"userfaultfd: {abilities.userfaultfd}")
        if self.uses_uffd and self._asynchronous and abilities.uffd_async:
            raise column.unable(f"userfaultfd without events: {abilities.uffd_async}")
        if self.forks and abilities.uffd_fork:
            raise column.unable(f"userfaultfd for a child, too: {abilities.uffd_fork}")
        if self.forks and self.reader:
            raise column.unable("a column does not pin pages and fork with userfaultfd")
        if self.reader and column.test.files:
            raise column.unable("nothing keeps a page of a file pinned that it only reads")
        if self.reader and abilities.uffd_kernel:
            raise column.unable(f"userfaultfd for faults of the kernel: {abilities.uffd_kernel}")
        if self.uses_scan and abilities.pagemap_scan:
            raise column.unable(f"PAGEMAP_SCAN: {abilities.pagemap_scan}")
        if self.uses_ring and "put_user_pages_dirty" in calls:
            raise column.unable("io_uring does not say that it has written a page")
        if self.uses_ring and calls.count("pin_user_pages") > 1:
            raise column.unable("the device that io_uring plays pins one page")
        if self.uses_ring and abilities.io_uring:
            raise column.unable(f"io_uring, which would pin the page: {abilities.io_uring}")

    def prepare(self) -> None:
        """Open what the column needs."""
        p, machine = self.program, self.column.stage.abilities.machine
        assert machine is not None
        parent = self.column.stage.forks.get(self.column.column.mm)
        if self.uses_uffd and parent:
            parent.take_over(p, self.column.run, self.uffd)
        elif self.uses_uffd:
            p.call("userfaultfd", UFFD_FLAGS, to=self.uffd)
            api = self.shared.words(3)
            features = _UFFD_FEATURE_PAGEFAULT_FLAG_WP | (UFFD_FEATURE_WP_ASYNC if self._asynchronous else 0)
            features |= forking.FEATURE if self.forks else 0
            for i, value in enumerate((_UFFD_API, features, 0)):
                p.store(api + i * WORD, value)
            p.call("ioctl", self.uffd, _UFFDIO_API, api)
            if self.forks:
                self.forks.prepare(self.uffd)
        if self.uses_scan:
            p.call("openat", -100, self.column.stage.pagemap_path, _CLOEXEC, 0, to=self.pagemap)
        if self.uses_pipe:
            p.call("pipe2", self.buffer, 0)
            p.load(self.pipe, self.buffer)
        if self.reader:
            self.reader.prepare()
        if self.uses_ring:
            params = self.shared.words(_SQ_BYTES // WORD)
            for i in range(_SQ_BYTES // WORD):
                p.store(params + i * WORD, 0)
            p.call("io_uring_setup", 1, params, to=self.io_uring)
            for to, offset in ((self.ring, 0), (self.sqe, _OFF_SQES)):
                p.call("mmap", 0, _PAGE, _PROT_RW, _MAP_SHARED_POPULATE, self.io_uring, offset, to=to)
            p.op("SET", 0, to=self.count)

    def finish(self) -> None:
        """Close it."""
        p = self.program
        if self.forks:
            self.forks.finish()
        if self.uses_uffd:
            p.call("close", self.uffd)
        if self.reader:
            self.reader.finish()
        if self.uses_scan:
            p.call("close", self.pagemap)
        if self.uses_ring:
            p.call("close", self.io_uring)
            p.call("munmap", self.ring, _PAGE)
            p.call("munmap", self.sqe, _PAGE)
        if self.uses_pipe:
            p.call("close", self._pipe(0))
            p.call("close", self._pipe(1))

    @property
    def _asynchronous(self) -> bool:
        return bool(self.column.test.bounds.get("CONFIG_UFFD_WP_ASYNC"))

    def _pipe(self, end: int) -> Reg:
        value = self.program.reg()
        if end:
            self.program.op("SHIFT", self.pipe, 32, to=value)
        else:
            self.program.op("AND", self.pipe, 0xFFFFFFFF, to=value)
        return value

    def call(self, name: str, args: tuple[s.Expression, ...], to: Reg) -> None:
        """One call of the column."""
        getattr(self, f"_{name}")(args, to)

    # ------------------------------------------------------------------------------------- userfaultfd

    def _uffdio_register(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        self._uffdio(to, _UFFDIO_REGISTER, args, _UFFDIO_REGISTER_MODE_WP)

    def _uffdio_writeprotect(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        mode = args[2]
        if isinstance(mode, s.Name) and mode.name == "UFFDIO_WRITEPROTECT_MODE_WP":
            self._uffdio(to, _UFFDIO_WRITEPROTECT, args, 1)
        elif isinstance(mode, s.Integer) and mode.value == 0:
            self._uffdio(to, _UFFDIO_WRITEPROTECT, args, 0)
        else:
            raise self.column.unable("a mode of UFFDIO_WRITEPROTECT is not understood")

    def _uffdio(self, to: Reg, request: int, args: tuple[s.Expression, ...], mode: int) -> None:
        words = self.shared.words(4, self.column.address(args[0]), self.column.number(args[1]), mode, 0)
        self.column.system(to, "ioctl", self.uffd, request, words)

    # What is said of ranges becomes a bit for each page.
    def _pagemap_scan(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        p, start, size, mode = self.program, self.column.address(args[0]), self.column.number(args[1]), args[2]
        if isinstance(mode, s.Name) and mode.name == "PM_SCAN_WP_MATCHING":
            flags = _PM_SCAN_WP_MATCHING
        elif isinstance(mode, s.Integer) and mode.value == 0:
            flags = 0
        else:
            raise self.column.unable("flags of PAGEMAP_SCAN are not understood")
        pages = size // _PAGE
        regions = self.shared.words(pages * _REGION_WORDS)
        for i in range(pages * _REGION_WORDS):
            p.store(regions + i * WORD, 0)
        of = _PAGE_IS_WRITTEN
        arguments = (_PM_SCAN_WORDS * WORD, flags, start, start + size, 0, regions, pages, 0, 0, of, 0, of)
        p.call("ioctl", self.pagemap, PAGEMAP_SCAN, self.shared.words(_PM_SCAN_WORDS, *arguments))
        first, end, before, within = (p.reg() for _ in range(4))
        p.op("SET", 0, to=to)
        for i in range(pages):
            p.load(first, regions + i * _REGION_WORDS * WORD)
            p.load(end, regions + (i * _REGION_WORDS + 1) * WORD)
            for page in range(pages):
                p.op("LESS", start + page * _PAGE, first, to=before)
                p.op("LESS", start + page * _PAGE, end, to=within)
                p.op("SUB", within, before, to=within)
                p.op("TIMES", within, 1 << page, to=within)
                p.op("OR", to, within, to=to)

    # ------------------------------------------------------------------------------- references and pins

    def _vector(self, args: tuple[s.Expression, ...]) -> int:
        return self.shared.words(2, self.column.address(args[0]), WORD)

    def _get_user_pages(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        self._vmsplice(args, to)

    def _vmsplice(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        self.column.system(to, "vmsplice", self._pipe(1), self._vector(args), 1, 0)

    def _read_pipe(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        self._device_read(args, to)

    def _pin_user_pages(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        if self.reader:
            self.reader.pin(args, to)
            return
        if self.transfer:
            p, own = self.program, self.program.reg()
            there = self.shared.words(2, self.buffer + WORD, WORD)
            if self.transfer == "process_vm_writev":
                p.store(self.buffer + WORD, self.column.number(self.data[0]))
            p.call("getpid", to=own)
            self.column.system(to, self.transfer, own, there, 1, self._vector(args), 1, 0)
            return
        if not (isinstance(args[1], s.Name) and args[1].name == "FOLL_WRITE"):
            raise self.column.unable("nothing keeps a page pinned for long, or of a file, that it only reads")
        self.pinned = self.column.address(args[0])
        self.column.system(to, "io_uring_register", self.io_uring, _REGISTER_BUFFERS, self._vector(args), 1)

    def _put_user_pages(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        if self.reader:
            self.reader.put()
        if self.uses_ring:
            self.program.call("io_uring_register", self.io_uring, _UNREGISTER_BUFFERS, 0, 0)

    def _put_user_pages_dirty(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        self._put_user_pages(args, to)

    def _device_read(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        p = self.program
        there = self.buffer + WORD
        if self.reader:
            self.reader.read(to)
            return
        if self.uses_pipe:
            p.call("read", self._pipe(0), there, WORD)
        elif not self.transfer:
            offset = _PAGE * (1 + self.column.column.number)
            self._access(_WRITE_FIXED, offset)
            p.call("pread64", self.column.stage.values_fd, there, WORD, offset)
        p.load(to, there)

    def _device_write(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        if self.transfer:
            return
        if not self.uses_ring:
            raise self.column.unable("a pipe does not write what it was given by vmsplice")
        self._access(_READ_FIXED, self.column.number(args[0]) * WORD)

    # Let io_uring transfer one word between the pinned page and a file, and wait until that is done.
    def _access(self, op: int, offset: Arg) -> None:
        p = self.program
        at, both = p.reg(), p.reg()
        words: tuple[Arg, ...] = (op | self.column.stage.values_fd << 32, offset, self.pinned, WORD)
        for i, word in enumerate(words):
            p.op("ADD", self.sqe, i * WORD, to=at)
            p.store(at, word)
        p.op("TIMES", self.count, _BOTH_HALVES, to=both)
        p.op("ADD", both, 1 << 32, to=both)
        p.store(self.ring, both)  # head as it is, tail one more
        p.call("io_uring_enter", self.io_uring, 1, 1, _GETEVENTS, 0, 0)
        p.op("ADD", self.count, 1, to=self.count)
        p.op("TIMES", self.count, _BOTH_HALVES, to=both)
        p.op("ADD", self.ring, WORD, to=at)
        p.store(at, both)  # what is completed is taken note of


# The system call that does all of what is done to a pinned page: pins it, transfers once, and unpins it; empty if none.
def transfer(calls: list[s.Call]) -> str:
    own = [call for call in calls if call.name in _DEVICE_CALLS]
    names = [call.name for call in calls]
    if names.count("pin_user_pages") != 1 or len(own) < 2:
        return ""
    first = names.index("pin_user_pages")
    if calls[first : first + len(own)] != own or own[-1].name not in _PUTS:
        return ""
    between, flags = [call.name for call in own[1:-1]], own[0].args[1]
    if isinstance(flags, s.Integer) and flags.value == 0 and between in ([], ["device_read"]):
        return "process_vm_readv"
    if own[-1].name == "put_user_pages_dirty" and between == ["device_write"]:
        return "process_vm_writev"
    return ""


# ----------------------------------------------------------------------------------------------- probes


def probe_call(number: int, *args: object) -> str:
    """Why a system call that opens something does not; empty when it does."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(ctypes.c_long(number), *args)
    if fd < 0:
        return os.strerror(ctypes.get_errno() or errno.ENOSYS)
    os.close(fd)
    return ""


def probe_features(number: int, features: int) -> str:
    """Why userfaultfd does not have some features; empty when it does."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(ctypes.c_long(number), ctypes.c_long(UFFD_FLAGS))
    if fd < 0:
        return os.strerror(ctypes.get_errno() or errno.ENOSYS)
    return _tried(fd, _UFFDIO_API, struct.pack("<3Q", _UFFD_API, _UFFD_FEATURE_PAGEFAULT_FLAG_WP | features, 0))


def probe_scan() -> str:
    """Why pagemap cannot be asked which pages were written; empty when it can."""
    try:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY)
    except OSError as error:
        return error.strerror or "it cannot be opened"
    of = _PAGE_IS_WRITTEN
    words = (_PM_SCAN_WORDS * WORD, 0, 0, 0, 0, 0, 0, 0, 0, of, 0, of)
    return _tried(fd, PAGEMAP_SCAN, struct.pack(f"<{_PM_SCAN_WORDS}Q", *words))


# Why an ioctl of a file fails; empty when it does not.  The file is closed.
def _tried(fd: int, request: int, argument: bytes) -> str:
    try:
        fcntl.ioctl(fd, request, bytearray(argument))
    except OSError as error:
        return error.strerror or "it is refused"
    finally:
        os.close(fd)
    return ""
