# SPDX-License-Identifier: GPL-2.0-only
"""What is known at one point of straight code, so that it need not be loaded, stored or checked again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ptelab.native.emitter import Operand


@dataclass(slots=True)
class Known:
    """Valid until a label that can be reached from elsewhere; a copy is valid behind a branch."""

    values: dict[str, Operand] = field(default_factory=dict)  # variable → what it holds
    unsaved: set[str] = field(default_factory=set)  # variables whose place on the machine's stack is out of date
    kept: set[str] = field(default_factory=set)  # variables that hold what their lane holds, and were not loaded yet
    lanes: dict[str, Operand] = field(default_factory=dict)  # variable → what its lane holds
    passed: set[tuple[str, str, int]] = field(default_factory=set)  # checks that have been made
    may: Operand | None = None  # whether a step may still be made

    def copy(self) -> Known:
        return Known(dict(self.values), set(self.unsaved), set(self.kept), dict(self.lanes), set(self.passed), self.may)

    def hold(self, name: str, value: Operand) -> None:
        """A variable is assigned."""
        self.values[name] = value
        self.unsaved.add(name)
        self.kept.discard(name)

    def frame_is_clear(self, slots: Iterable[str]) -> None:
        """The thread keeps nothing in the function's frame."""
        self.lanes = dict.fromkeys(slots, 0)

    def unpacked(self, live: Iterable[str], slots: Iterable[str]) -> None:
        """The thread has stood still: what is live is in its lane, the other lanes are zero."""
        self.frame_is_clear(slots)
        for name in live:
            self.kept.add(name)
            self.unsaved.add(name)
            del self.lanes[name]

    def is_new(self, check: str, value: str, limit: int = 0) -> bool:
        """Whether a check of a register was not made before; now it is."""
        if (check, value, limit) in self.passed:
            return False
        self.passed.add((check, value, limit))
        return True
