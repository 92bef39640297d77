# SPDX-License-Identifier: GPL-2.0-only
"""Which mm a column's CPU has loaded: its own, or that of another process, which has a thread for the same CPU.

The two take turns: one wakes the other and sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptelab.litmus.columns import calls

if TYPE_CHECKING:
    from ptelab.live.column import ColumnCompiler


@dataclass(frozen=True, slots=True)
class Visit:
    """That the CPU of a column runs another mm for a while, and the counters by which the two wake each other."""

    column: int
    mm: str
    at_first: bool  # it does so when the columns meet
    turn: int
    back: int


class Switching:
    """The switches of one column, each at most once in a run."""

    def __init__(self, column: ColumnCompiler) -> None:
        self.column = column
        own = column.column
        self.mm = own.mm
        self.visit: Visit | None = None  # which has not ended
        names = [call.name for call in calls(own.process.body)]
        if own.active_mm:
            if names[0] != "switch_to":
                raise column.unable("a column does nothing while its CPU has another mm")
            self._begin(own.active_mm, True)

    def _begin(self, mm: str, at_first: bool) -> Visit:
        stage = self.column.stage
        if mm == stage.main_mm or mm in stage.test.children or mm in stage.ending:
            raise self.column.unable("a CPU visits only processes that are there for it")
        if any(v.column == self.column.column.number for v in stage.visits):
            raise self.column.unable("a CPU visits another process once")
        self.visit = Visit(self.column.column.number, mm, at_first, stage.shared.words(), stage.shared.words())
        stage.visits.append(self.visit)
        return self.visit

    def to(self, mm: str) -> None:
        """Let the CPU run an mm."""
        p = self.column.program
        if mm != self.mm:
            p.op("ARRIVE", self._begin(mm, False).turn)
        elif self.visit:
            p.op("AWAIT", self.visit.back, self.column.run, 0)
            self.visit = None
