# SPDX-License-Identifier: GPL-2.0-only
"""A thread that does for a column what would keep the column waiting, at most once in each run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ptelab.live.program import Label, Program

if TYPE_CHECKING:
    from ptelab.live.column import ColumnCompiler


class Helper(ABC):
    """The helper of one column.  Each run either calls or cancels it, so that its end is always known."""

    def __init__(self, column: ColumnCompiler) -> None:
        self.column, self.program, self.shared = column, column.program, column.stage.shared
        self._wanted, self.over, self._cancelled = (self.shared.words() for _ in range(3))  # the first two count

    @abstractmethod
    def work(self, p: Program) -> None:
        """Write what the thread does when it is called."""

    def thread(self, p: Program, for_good: bool) -> None:
        """Write the thread: it works in each run, or in the one that a process is made for."""
        run, cancelled, skip, again = p.reg(), p.reg(), Label(), Label()
        if for_good:
            p.op("SET", 0, to=run)
            p.label(again)
            p.op("ADD", run, 1, to=run)
        else:
            p.load(run, self.column.stage.run)
        p.op("AWAIT", self._wanted, run, 0)
        p.load(cancelled, self._cancelled)
        p.op("EQUAL", cancelled, 0, to=cancelled)
        p.op("IF_ZERO", cancelled, skip)
        self.work(p)
        p.label(skip)
        p.op("ARRIVE", self.over)
        if for_good:
            p.jump(again)

    def call(self) -> None:
        """Let it work, beside the column."""
        self.program.store(self._cancelled, 0)
        self.program.op("ARRIVE", self._wanted)

    def await_end(self) -> None:
        """Wait until it has done its work."""
        self.program.op("AWAIT", self.over, self.column.run, 0)

    def cancel(self) -> None:
        """It is not needed in this run."""
        self.program.store(self._cancelled, 1)
        self.program.op("ARRIVE", self._wanted)
        self.await_end()
