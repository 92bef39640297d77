# SPDX-License-Identifier: GPL-2.0-only
"""Partial-order reduction: states from which it is enough to move one thread.

A thread's transition is an *ample* set of its own when nothing that the others may do, as long as this thread does not
move, reads what it writes or writes what it accesses: then every run from here can be reordered to begin with it.
What the others may do is known by class of memory (`footprint`), and ends where they would have to wait for a lock
that this thread holds.  What invariants read and write counts as accessed by the step that they belong to.

Not taken are a choose, a daemon at rest (it never has to move), a step that raises a flag (the others' flags must be
found too), one position on each cycle of a thread (else others could be put off for ever), and a step with which a
thread may end or come to rest while there are other daemons.  The run is over as soon as every thread has, and where
this one has not yet, a daemon may still answer to what the last of the others did: taken first, the step would bring
the end forward, and what the daemon might have done would be put off to a time that never comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ptelab.footprint import Footprints
from ptelab.layout import Layout
from ptelab.link import Program
from ptelab.scenario import Scenario

_WAITS = {"write": frozenset({"spin_lock", "down_read", "down_write"}), "read": frozenset({"down_write"})}


@dataclass(frozen=True, slots=True)
class Mode:
    """A lock, of which there is one, held for writing (a spinlock: held) or reading."""

    struct: str
    member: str
    kind: str  # write or read


Masks = tuple[int, int]


class Ample:
    """For each thread and position: may the next transition be ample, what it accesses, what may follow."""

    def __init__(self, scenario: Scenario, program: Program, layout: Layout, rest: list[int]) -> None:
        prints = Footprints(scenario, program)
        self.modes = _single_locks(layout)
        self.next: list[dict[int, Masks]] = []
        self.eligible: list[set[int]] = []
        self.future: list[list[dict[int, Masks]]] = []  # mode (0: no lock held) → thread → position → masks
        waits = [(), *(((m.struct, m.member, _WAITS[m.kind]),) for m in self.modes)]
        known: dict[tuple[int, int], dict[int, Masks]] = {}
        for mode, wait in enumerate(waits):
            row = []
            for t in range(len(scenario.threads)):
                # A thread that never waits for the lock goes on as if nobody held it.
                key = (mode if prints.waits(t, wait) else 0, id(prints.threads[t]))
                if key not in known:
                    known[key] = prints.future(t, wait)
                row.append(known[key])
            self.future.append(row)
        relevant = self._relevant()
        squeeze = _Squeeze(relevant)
        for t, thread in enumerate(scenario.threads):
            heads = prints.loop_heads(t)
            over = rest[t] if thread.daemon else 0
            alone = not any(other.daemon for n, other in enumerate(scenario.threads) if n != t)
            eligible = set()
            for p, footprint in prints.threads[t].items():
                entry = program.position[p]
                assert entry is not None
                resting = thread.daemon and p == over
                if not (entry[1].choose or resting or p in heads) and (alone or over not in footprint.successors):
                    eligible.add(p)
            self.eligible.append(eligible)
            self.next.append({p: (squeeze(f.next_reads), squeeze(f.next_writes)) for p, f in prints.threads[t].items()})
        squeezed: dict[int, dict[int, Masks]] = {}
        for row in self.future:
            for masks in row:
                if id(masks) not in squeezed:
                    squeezed[id(masks)] = {p: (squeeze(r), squeeze(w)) for p, (r, w) in masks.items()}
        self.future = [[squeezed[id(masks)] for masks in row] for row in self.future]
        self.classes = len(relevant)

    def _relevant(self) -> list[int]:
        """The classes that one thread may write and another may access, as bit numbers."""
        everything = []
        for masks in self.future[0]:
            reads = writes = 0
            for r, w in masks.values():
                reads, writes = reads | r, writes | w
            everything.append((reads, writes))
        contested = 0
        for t, (_, writes) in enumerate(everything):
            for u, (reads, others) in enumerate(everything):
                if t != u:
                    contested |= writes & (reads | others)
        return [bit for bit in range(contested.bit_length()) if contested >> bit & 1]

    def independent(self, thread: int, positions: list[int], held: list[int]) -> bool:
        """Whether the thread's next transition is an ample set; `held`: numbers of the modes that it holds."""
        position = positions[thread]
        if position not in self.eligible[thread]:
            return False
        reads, writes = self.next[thread][position]
        for other, at in enumerate(positions):
            if other == thread or not at:
                continue
            may_read, may_write = self.future[0][other][at]
            for mode in held:
                r, w = self.future[1 + mode][other][at]
                may_read &= r
                may_write &= w
            if writes & (may_read | may_write) or reads & may_write:
                return False
        return True


class _Squeeze:
    """Keeps the relevant classes of a mask only; masks repeat, so what was answered is remembered."""

    def __init__(self, relevant: list[int]) -> None:
        self._relevant = relevant
        self._known: dict[int, int] = {}

    def __call__(self, mask: int) -> int:
        result = self._known.get(mask)
        if result is None:
            result = 0
            for n, bit in enumerate(self._relevant):
                result |= (mask >> bit & 1) << n
            self._known[mask] = result
        return result


def _single_locks(layout: Layout) -> list[Mode]:
    """Locks of which the layout has one only: for these it is known which one a thread would wait for."""
    modes = []
    for struct in layout.module.structs.values():
        for f in struct.fields:
            if struct.kind == "shared" and f.lock and layout.count(f) == 1 and layout.pool(struct.name) == 1:
                modes += [
                    Mode(struct.name, f.name, k) for k in (["write"] if f.lock == "spinlock" else ["write", "read"])
                ]
    return modes


def holds(mode: Mode, value: int, thread: int, owner_bits: int) -> bool:
    """Whether a lock's value says that the thread holds it in this mode."""
    if mode.kind == "write":
        return value & ((1 << owner_bits) - 1) == thread + 1
    return bool(value >> owner_bits & 1 << thread)
