# SPDX-License-Identifier: GPL-2.0-only
"""fork of a process whose memory is registered with userfaultfd, such that the child's is, too.

Linux registers the child's memory only for who wants to know of forks (UFFD_FEATURE_EVENT_FORK), and lets fork wait
until he has read that.  A thread of its own does so.  What it gets is a descriptor for the child's memory, which the
child takes over from its parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptelab.litmus import syntax as s
from ptelab.live.helper import Helper
from ptelab.live.program import WORD, Label, Program, Reg

if TYPE_CHECKING:
    from ptelab.live.column import ColumnCompiler

FEATURE = 1 << 1
_EVENT_FORK = 0x13
_MESSAGE_BYTES = 32


class ForkEvents(Helper):
    """The fork of one column, at most one in each run; the helper reads the event."""

    def __init__(self, column: ColumnCompiler) -> None:
        super().__init__(column)
        words = self.shared.words
        self.descriptor, self.parent = words(), words()
        self.child = words(1, -1)
        self.message = words(_MESSAGE_BYTES // WORD)
        self.forked = self.program.reg()

    def work(self, p: Program) -> None:
        """Read until a fork is told."""
        value, read = p.reg(), Label()
        p.label(read)
        p.load(value, self.descriptor)
        p.call("read", value, self.message, _MESSAGE_BYTES)
        p.load(value, self.message)
        p.op("AND", value, 0xFF, to=value)
        p.op("EQUAL", value, _EVENT_FORK, to=value)
        p.op("IF_ZERO", value, read)
        p.load(value, self.message + WORD)
        p.op("AND", value, 0xFFFFFFFF, to=value)
        p.store(self.child, value)

    def prepare(self, descriptor: Reg) -> None:
        """Tell the thread what to read from.  The child of the run before has ended."""
        p, value = self.program, self.program.reg()
        p.load(value, self.child)
        p.call("close", value)
        p.store(self.child, -1)
        p.store(self.descriptor, descriptor)
        p.call("getpid", to=value)
        p.store(self.parent, value)
        p.op("SET", 0, to=self.forked)

    def before(self) -> None:
        """The column is about to fork."""
        self.program.op("SET", 1, to=self.forked)
        self.call()

    def after(self) -> None:
        """It has forked."""
        self.await_end()

    def finish(self) -> None:
        """Let the thread come to its end in any case."""
        p, on, never = self.program, Label(), self.program.reg()
        p.op("EQUAL", self.forked, 0, to=never)
        p.op("IF_ZERO", never, on)
        self.cancel()
        p.label(on)

    def take_over(self, p: Program, run: Reg, to: Reg) -> None:
        """Let a column of the child have the descriptor for its memory."""
        value = p.reg()
        p.op("AWAIT", self.over, run, 0)
        p.load(to, self.parent)
        p.call("pidfd_open", to, 0, to=to)
        p.load(value, self.child)
        p.call("pidfd_getfd", to, value, 0, to=value)
        p.call("close", to)
        p.op("SET", value, to=to)


def forks_registered(calls: list[s.Call]) -> bool:
    """Whether a column forks after it has registered memory with userfaultfd."""
    names = [call.name for call in calls]
    return "uffdio_register" in names and "fork" in names[names.index("uffdio_register") :]
