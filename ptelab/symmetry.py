# SPDX-License-Identifier: GPL-2.0-only
"""Symmetry: of states that differ in nothing but which of several like threads is which, one stands for all.

`alike` finds out where the numbers of like threads are used.  Each of them then has a *column*: its own state and what
is indexed by its number.  Nothing else in a state says which one is meant, so the one that stands for all is the
one whose columns are sorted.  Both engines sort by the same words, because the partial-order reduction takes the first
thread that will do.  A run that was found among sorted states is turned back into one of the program: `real`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from ptelab.alike import Analysis, Refused
from ptelab.flow import called_from
from ptelab.footprint import Footprints
from ptelab.layout import Layout
from ptelab.link import Context, Program
from ptelab.memory import Column, Memory
from ptelab.packing import Lane, Packing
from ptelab.scenario import Scenario

Choice = tuple[int, int]
Cells = tuple[int, ...]
Threads = tuple[tuple[int, tuple[tuple[int, ...], ...]], ...]
State = tuple[Cells, Threads]
Spot = tuple[str, str, int, int, str]
"""struct, member, part and number of a scalar of the member; owner or reader: whether a lock has this one."""


def groups(scenario: Scenario) -> list[range]:
    """Threads one behind the other that run the same program."""
    found = []
    for (_, daemon), same in groupby(enumerate(scenario.threads), key=lambda item: (item[1].root, item[1].daemon)):
        members = [n for n, _ in same]
        if len(members) > 1 and not daemon:
            found.append(range(members[0], members[-1] + 1))
    return found


def _one_cpu(scenario: Scenario) -> bool:
    return len({t.cpu for t in scenario.threads}) == 1


class Symmetry:
    """The columns of like threads; Refused by the constructor when there are none or they are not alike."""

    def __init__(
        self, scenario: Scenario, program: Program, layout: Layout, memory: Memory, final: str, start: State,
        stacks: Mapping[str, Memory],
    ) -> None:  # fmt: skip
        self.ranges = groups(scenario)
        if not self.ranges:
            raise Refused("no two threads run the same program")
        own_cpu = not _one_cpu(scenario)
        if own_cpu and any(t.daemon or t.cpu != n for n, t in enumerate(scenario.threads)):
            raise Refused("like threads are on different CPUs, beside hardware or out of order")
        self._program, self._memory = program, memory
        functions = program.module.functions
        names = set(called_from(functions, [*(t.root for t in scenario.threads), final]))
        ordered = [n for n in program.order if n in names]
        self.alike = Analysis(
            program.module, layout, ordered, self.ranges, own_cpu, set(called_from(functions, [final]))
        ).result(final)
        self._nobody_keeps_a_number(Footprints(scenario, program), start)
        packing = Packing(scenario, program, layout, memory, [[t] for t in range(len(scenario.threads))])
        self._words: dict[tuple[int, tuple[tuple[int, ...], ...]], tuple[int, ...]] = {}
        self._packing, self._stacks = packing, stacks
        self._owner_bits = layout.param("NR_THREADS").bit_length()
        self.spots = [[self._spots(member) for member in r] for r in self.ranges]
        self._cells = [[[self._cell(s) for s in spots] for spots in members] for members in self.spots]
        self._locks = sorted({self._cell(s) for spots in self.spots for s in spots[0] if s[4]})
        for number, r in enumerate(self.ranges):
            if len({self._key(start, number, k) for k in range(len(r))}) > 1:
                raise Refused("like threads do not begin alike")

    # --------------------------------------------------------------------------------------- checks

    def _nobody_keeps_a_number(self, footprints: Footprints, start: State) -> None:
        """Between two transitions no thread's own variables may say which of the like threads is meant."""
        for steps, (at, _) in zip(footprints.threads, start[1], strict=True):
            seen, todo = {0}, [at]
            while todo:
                position = todo.pop()
                if position not in seen:
                    seen.add(position)
                    self._keeps_none(position)
                    todo += steps[position].successors

    def _keeps_none(self, position: int) -> None:
        entry = self._program.position[position]
        assert entry is not None
        context: Context | None = entry[0]
        live = entry[1].live
        while context is not None:
            function = context.code.function
            if kept := [v for v in live if (function.name, v) in self.alike.variables]:
                raise Refused(f"{function.name} keeps a thread's number in {min(kept)}")
            live = context.call.live if context.call is not None else frozenset()
            context = context.parent

    # -------------------------------------------------------------------------------------- columns

    def _spots(self, member: int) -> list[Spot]:
        """What is indexed by a thread's number, in the same order for each."""
        spots = []
        for (struct, name), column in self._memory.columns.items():
            if struct in self.alike.pools:
                element = member + self.alike.pools[struct]
                if element < column.elements:
                    numbers = range(element * column.count, (element + 1) * column.count)
                    spots += self._parts(column, numbers)
            elif (struct, name) in self.alike.arrays:
                entry = member + self.alike.arrays[struct, name]
                if entry < column.count:
                    spots += self._parts(column, range(entry, column.elements * column.count, column.count))
            elif (struct, name) in self.alike.locks:
                kinds = ["owner"] if column.field.lock == "spinlock" else ["owner", "reader"]
                spots += [(struct, name, 0, n, kind) for n in range(column.elements * column.count) for kind in kinds]
        return spots

    def _parts(self, column: Column, numbers: range) -> list[Spot]:
        return [(column.struct, column.field.name, part, n, "") for n in numbers for part in range(column.parts)]

    def _cell(self, spot: Spot) -> int:
        column = self._memory.columns[spot[0], spot[1]]
        return column.base + spot[3] * column.parts + spot[2]

    def lanes(self, shared: dict[tuple[str, str, int], Lane]) -> list[list[list[tuple[int, int, int, int]]]]:
        """For each group, member and spot: the word, the shift and the width in packed shared memory, and of an owner's
        spot the number that the thread writes there."""
        return [
            [[self._lane(shared, spot, thread) for spot in spots] for thread, spots in zip(r, members, strict=True)]
            for r, members in zip(self.ranges, self.spots, strict=True)
        ]

    def _lane(self, shared: dict[tuple[str, str, int], Lane], spot: Spot, thread: int) -> tuple[int, int, int, int]:
        struct, name, part, n, kind = spot
        lane = shared[struct, name, part]
        word, shift = lane.at(n)
        if kind == "owner":
            return word, shift, self._owner_bits, thread + 1
        if kind == "reader":
            return word, shift + self._owner_bits + thread, 1, 0
        return word, shift, lane.width, 0

    def _key(self, state: State, group: int, member: int) -> tuple[int, ...]:
        number = self.ranges[group][member]
        thread = state[1][number]
        words = self._words.get(thread)
        if words is None:
            packed = self._packing.pack_thread(self._program, self._stacks, number, *thread)
            words = self._words[thread] = tuple(packed)
        return words + tuple(
            self._seen(state[0][c], spot[4], number)
            for c, spot in zip(self._cells[group][member], self.spots[group][member], strict=True)
        )

    def _seen(self, value: int, kind: str, thread: int) -> int:
        if kind == "owner":
            return int(value & (1 << self._owner_bits) - 1 == thread + 1)
        return value >> self._owner_bits + thread & 1 if kind == "reader" else value

    # -------------------------------------------------------------------------------------- sorting

    def sort(self, state: State) -> tuple[State, list[int]]:
        """The state that stands for this one, and for each of its threads which one of this state's it is."""
        order = list(range(len(state[1])))
        for number, r in enumerate(self.ranges):
            order[r.start : r.stop] = sorted(r, key=lambda t, n=number, r=r: self._key(state, n, t - r.start))  # type: ignore[misc]
        return self._arrange(state, order), order

    def _arrange(self, state: State, order: Sequence[int]) -> State:
        if all(n == t for n, t in enumerate(order)):
            return state
        cells = list(state[0])
        for number, r in enumerate(self.ranges):
            for k, t in enumerate(r):
                source = self._cells[number][order[t] - r.start]
                for to, of, spot in zip(self._cells[number][k], source, self.spots[number][k], strict=True):
                    if not spot[4]:
                        cells[to] = state[0][of]
        for cell in self._locks:
            cells[cell] = self._lock(state[0][cell], order)
        return tuple(cells), tuple(state[1][t] for t in order)

    # What a lock holds when each thread t becomes the one that is order[t] now.
    def _lock(self, value: int, order: Sequence[int]) -> int:
        owner, readers = value & (1 << self._owner_bits) - 1, value >> self._owner_bits
        owner = order.index(owner - 1) + 1 if owner else 0
        moved = sum((readers >> of & 1) << to for to, of in enumerate(order))
        return owner | moved << self._owner_bits

    def _without_numbers(self, state: State) -> State:
        """The state with variables that hold a thread's number zeroed: nobody will read them."""
        threads = []
        for vpc, frames in state[1]:
            context = self._program.position[vpc][0] if vpc else None  # type: ignore[index]
            chain: list[Context] = []
            while context is not None:
                chain.append(context)
                context = context.parent
            kept = []
            for ctx, values in zip(reversed(chain), frames, strict=True):
                name, slots = ctx.code.function.name, ctx.code.slots
                hidden = [(name, s) in self.alike.variables for s in slots] + [False] * (len(values) - len(slots))
                kept.append(tuple(0 if h else v for h, v in zip(hidden, values, strict=True)))
            threads.append((vpc, tuple(kept)))
        return state[0], tuple(threads)

    def real(
        self,
        choices: Sequence[Choice],
        start: State,
        step: Callable[[State, int, int], State | str | None],
        alternatives: Callable[[State, int], int],
    ) -> list[Choice]:
        """A run of the program for one among sorted states; `step` gives a flag's name when one is raised."""
        sorted_, here, order = start, start, list(range(len(start[1])))
        found: list[Choice] = []
        for thread, alternative in choices:
            wanted = step(sorted_, thread, alternative)
            mine = order[thread]
            others = [a for a in range(alternatives(here, mine)) if a != alternative]
            for a in (alternative, *others):
                following = step(here, mine, a)
                if isinstance(wanted, str) or isinstance(following, str) or following is None or wanted is None:
                    if following == wanted:
                        break
                elif self._without_numbers(self._arrange(following, order)) == self._without_numbers(wanted):
                    break
            else:
                raise AssertionError("like threads are not alike")
            found.append((mine, a))
            if not isinstance(wanted, tuple) or not isinstance(following, tuple):
                break
            here = following
            sorted_, moved = self.sort(wanted)
            order = [order[t] for t in moved]
        return found

    def told(self, scenario: Scenario) -> str:
        """Which threads are alike, for people."""
        names = [f"{scenario.threads[r.start].name} to {scenario.threads[r.stop - 1].name}" for r in self.ranges]
        return f"{' and '.join(names)} are alike"
