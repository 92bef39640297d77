# SPDX-License-Identifier: GPL-2.0-only
"""A device that has a page pinned for some time, and only reads it.

A thread of its own plays it by process_vm_readv of the whole page.  That pins the page to read it, and copies then; the
first word of the copy goes to memory whose faults userfaultfd has to resolve.  So the thread is stuck there until the
device is to read, and has the page pinned; what it copies behind that word it copies after it.  The datum of a page is
therefore its last word in such a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptelab.litmus import syntax as s
from ptelab.live.helper import Helper
from ptelab.live.program import WORD, Label, Program, Reg

if TYPE_CHECKING:
    from ptelab.live.column import ColumnCompiler

_PAGE = 4096
OFFSET = _PAGE - WORD
"""Where the datum lies in a page."""

FLAGS = 0o2004000  # O_CLOEXEC, O_NONBLOCK; faults of the kernel are wanted, too
_UFFD_API, _UFFDIO_API, _UFFDIO_REGISTER, _UFFDIO_ZEROPAGE = 0xAA, 0xC018AA3F, 0xC020AA00, 0xC020AA04
_MODE_MISSING = 1
_MESSAGE_BYTES = 32
_AREA = 0x360000000
_MAP_PRIVATE_FIXED_ANONYMOUS = 0x32
_READ_WRITE = 3
_PAUSE_NS = 1_000

_NONE, _PINNED, _OVER = 0, 1, 2


class ReadingPin(Helper):
    """The pin of one column, one in each run; the helper is the device."""

    def __init__(self, column: ColumnCompiler) -> None:
        super().__init__(column)
        words = self.shared.words
        self.area = _AREA + column.column.number * _PAGE
        self.result = words()
        self.copy = words((_PAGE - WORD) // WORD)
        self.remote = words(2, 0, _PAGE)
        self.message, self.pause = words(_MESSAGE_BYTES // WORD), words(2, 0, _PAUSE_NS)
        self.state, self.opened = self.program.reg(), self.program.reg()

    def work(self, p: Program) -> None:
        """Copy the page, and be stuck at the first word."""
        own, result = p.reg(), p.reg()
        local = self.shared.words(4, self.area, WORD, self.copy, _PAGE - WORD)
        p.call("getpid", to=own)
        p.call("process_vm_readv", own, local, 2, self.remote, 1, 0, to=result)
        p.store(self.result, result)

    def prepare(self) -> None:
        """Make the memory that the thread gets stuck at."""
        p, words = self.program, self.shared.words
        p.op("SET", _NONE, to=self.state)
        p.call("userfaultfd", FLAGS, to=self.opened)
        api = words(3)
        for i, value in enumerate((_UFFD_API, 0, 0)):
            p.store(api + i * WORD, value)
        p.call("ioctl", self.opened, _UFFDIO_API, api)
        p.call("mmap", self.area, _PAGE, _READ_WRITE, _MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0)
        p.call("ioctl", self.opened, _UFFDIO_REGISTER, words(4, self.area, _PAGE, _MODE_MISSING, 0))

    def pin(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        """Let the thread begin, until it is stuck or has been refused."""
        p, count, over = self.program, self.program.reg(), self.program.reg()
        poll, stuck, done = Label(), Label(), Label()
        p.store(self.remote, self.column.address(args[0]))
        self.call()
        p.label(poll)
        p.call("read", self.opened, self.message, _MESSAGE_BYTES, to=count)
        p.op("SUB", count, _MESSAGE_BYTES, to=count)
        p.op("IF_ZERO", count, stuck)
        p.call("nanosleep", self.pause, 0)
        p.load(over, self.over)
        p.op("LESS", over, self.column.run, to=over)
        p.op("EQUAL", over, 0, to=over)
        p.op("IF_ZERO", over, poll)
        p.load(to, self.result)
        p.op("SET", _OVER, to=self.state)
        p.jump(done)
        p.label(stuck)
        p.op("SET", 0, to=to)
        p.op("SET", _PINNED, to=self.state)
        p.label(done)

    def read(self, to: Reg) -> None:
        """What the device reads; it gives the page back at once."""
        self.put()
        self.program.load(to, self.copy + OFFSET - WORD)

    def put(self) -> None:
        """Let the thread go on to its end, if it is stuck."""
        p, stuck, on = self.program, self.program.reg(), Label()
        p.op("EQUAL", self.state, _PINNED, to=stuck)
        p.op("IF_ZERO", stuck, on)
        p.call("ioctl", self.opened, _UFFDIO_ZEROPAGE, self.shared.words(4, self.area, _PAGE, 0, 0))
        self.await_end()
        p.op("SET", _OVER, to=self.state)
        p.label(on)

    def finish(self) -> None:
        """Let the thread come to its end in any case."""
        p, pinned = self.program, Label()
        p.op("IF_ZERO", self._not_begun(), pinned)
        self.cancel()
        p.label(pinned)
        self.put()
        p.call("close", self.opened)
        p.call("munmap", self.area, _PAGE)

    def _not_begun(self) -> Reg:
        to = self.program.reg()
        self.program.op("EQUAL", self.state, _NONE, to=to)
        return to


def is_reading(calls: list[s.Call]) -> bool:
    """Whether a column has a page pinned to read it while it does something else."""
    names = [call.name for call in calls]
    pins = [call for call in calls if call.name == "pin_user_pages"]
    if len(pins) != 1 or not (isinstance(pins[0].args[1], s.Integer) and pins[0].args[1].value == 0):
        return False
    if "device_write" in names or "fork" in names[names.index("pin_user_pages") :]:
        return False
    return "device_read" not in names or names[names.index("device_read") + 1 :] == ["put_user_pages"]
