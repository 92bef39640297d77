# SPDX-License-Identifier: GPL-2.0-only
"""fork of a process whose memory is registered with userfaultfd, such that the child's is, too.

Linux registers the child's memory only for who wants to know of forks (UFFD_FEATURE_EVENT_FORK), and lets fork wait
until he has read that.  A thread of its own does so.  What it gets is a descriptor for the child's memory, which the
child takes over from its parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptelab.litmus import syntax as s
from ptelab.live.program import WORD, Label, Program, Reg

if TYPE_CHECKING:
    from ptelab.live.column import ColumnCompiler

FEATURE = 1 << 1
_EVENT_FORK = 0x13
_MESSAGE_BYTES = 32


class ForkEvents:
    """The fork of one column, at most one in each run."""

    def __init__(self, column: ColumnCompiler) -> None:
        self.column, self.program, self.shared = column, column.program, column.stage.shared
        words = self.shared.words
        self.wanted, self.over, self.cancelled, self.descriptor = (words() for _ in range(4))  # the first two count
        self.parent = words()
        self.child = words(1, -1)
        self.message = words(_MESSAGE_BYTES // WORD)
        self.forked = self.program.reg()

    def thread(self, program: Program, for_good: bool) -> None:
        """Read the event, in each run or in the one that a process is made for."""
        p, run, value, skip, again, read = program, program.reg(), program.reg(), Label(), Label(), Label()
        if for_good:
            p.op("SET", 0, to=run)
            p.label(again)
            p.op("ADD", run, 1, to=run)
        else:
            p.load(run, self.column.stage.run)
        p.op("AWAIT", self.wanted, run, 0)
        p.load(value, self.cancelled)
        p.op("EQUAL", value, 0, to=value)
        p.op("IF_ZERO", value, skip)
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
        p.label(skip)
        p.op("ARRIVE", self.over)
        if for_good:
            p.jump(again)

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
        p = self.program
        p.op("SET", 1, to=self.forked)
        p.store(self.cancelled, 0)
        p.op("ARRIVE", self.wanted)

    def after(self) -> None:
        """It has forked."""
        self.program.op("AWAIT", self.over, self.column.run, 0)

    def finish(self) -> None:
        """Let the thread come to its end in any case."""
        p, on, never = self.program, Label(), self.program.reg()
        p.op("EQUAL", self.forked, 0, to=never)
        p.op("IF_ZERO", never, on)
        p.store(self.cancelled, 1)
        p.op("ARRIVE", self.wanted)
        self.after()
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
