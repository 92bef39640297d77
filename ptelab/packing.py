# SPDX-License-Identifier: GPL-2.0-only
"""Packed states: where each scalar lies in the 64-bit words of a state.

Shared cells come first.  Behind them each thread, group by group, has words of its own: its position, then the kept
variables and stack objects of the functions in progress.  A function's frame lies behind those of all its possible
callees, so that functions which are never in progress together share bits and a thread with short chains of calls
needs few words.  No scalar crosses a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ptelab.flow import called_from, calls
from ptelab.layout import Layout
from ptelab.link import Context, Program
from ptelab.memory import Memory
from ptelab.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Lane:
    """`count` scalars of `width` bits, `per_word` in each word, from bit `shift` of word `word` on."""

    word: int
    shift: int
    width: int
    count: int
    per_word: int

    @property
    def words(self) -> int:
        return -(-self.count // self.per_word)

    @property
    def mask(self) -> int:
        return (1 << self.width) - 1

    def at(self, index: int) -> tuple[int, int]:
        """The word and the shift of one scalar."""
        return self.word + index // self.per_word, self.shift + index % self.per_word * self.width

    def bits(self) -> dict[int, int]:
        """Word → mask of all bits of the lane."""
        masks: dict[int, int] = {}
        for i in range(self.count):
            word, shift = self.at(i)
            masks[word] = masks.get(word, 0) | self.mask << shift
        return masks


class _Bits:
    """Hands out bits one behind the other."""

    def __init__(self, start: int = 0) -> None:
        self.end = start

    def lane(self, width: int, count: int = 1) -> Lane:
        if width * count > 64:
            self.end = -(-self.end // 64) * 64
            lane = Lane(self.end // 64, 0, width, count, 64 // width)
            self.end += 64 * (lane.words - 1) + (count - (lane.words - 1) * lane.per_word) * width
            return lane
        if self.end // 64 != (self.end + width * count - 1) // 64:
            self.end = -(-self.end // 64) * 64
        lane = Lane(self.end // 64, self.end % 64, width, count, max(count, 1))
        self.end += width * count
        return lane


class Packing:
    """Lanes for everything in a state; `words` is the size of a state.  `groups` are the threads that share a part."""

    def __init__(
        self, scenario: Scenario, program: Program, layout: Layout, memory: Memory, groups: list[list[int]]
    ) -> None:
        self.layout = layout
        self.memory = memory
        self.shared: dict[tuple[str, str, int], Lane] = {}  # struct, member, part; scalar = element * count + index
        self._first_fit()
        self.position = Lane(0, 0, max(1, (program.positions - 1).bit_length()), 1, 1)
        self.vars: dict[tuple[str, str], Lane] = {}  # function, variable; words count from the thread's first
        self.objects: dict[tuple[str, int], dict[tuple[str, int], Lane]] = {}  # object → member, part
        ends = self._frames(program)
        self.thread_word = [0] * len(scenario.threads)  # the first of a thread's words, and how many it has
        self.thread_words = [0] * len(scenario.threads)
        self.parts = [(0, self.shared_words)]  # first word and number of words of shared memory, then of each group
        word = self.shared_words
        for group in groups:
            first = word
            for t in group:
                self.thread_word[t] = word
                entered = called_from(program.module.functions, [scenario.threads[t].root])
                bits = [self.position.width, *(ends[f] for f in entered)]
                self.thread_words[t] = -(-max(bits) // 64)
                word += self.thread_words[t]
            self.parts.append((first, word - first))
        self.words = word

    def _first_fit(self) -> None:
        """Put the columns of shared memory into words, the large ones first."""
        wanted = [
            (width, column.elements * column.count, (column.struct, column.field.name, part))
            for column in self.memory.columns.values()
            for part, width in enumerate(column.widths)
        ]
        wanted.sort(key=lambda w: -w[0] * w[1])
        free: list[int] = []  # bits used per word
        for width, count, key in wanted:
            if width * count > 64:
                lane = Lane(len(free), 0, width, count, 64 // width)
                free += [64] * (lane.words - 1)
                free.append((count - (lane.words - 1) * lane.per_word) * width)
            else:
                word = next((w for w, used in enumerate(free) if used + width * count <= 64), len(free))
                if word == len(free):
                    free.append(0)
                lane = Lane(word, free[word], width, count, max(count, 1))
                free[word] += width * count
            self.shared[key] = lane
        self.shared_words = len(free)

    def _frames(self, program: Program) -> dict[str, int]:
        """Lay out every function's frame; the end of each, in bits from the thread's first word."""
        ends: dict[str, int] = {}
        for name in program.order:
            code = program.codes[name]
            callees = [ends[call.function] for _, _, call in calls(code.function)]
            bits = _Bits(max([self.position.width, *callees]))
            for slot in code.slots:
                self.vars[name, slot] = bits.lane(self.layout.width(code.function.vars[slot]))
            for made in code.objects:
                struct = self.layout.module.structs[made.struct]
                lanes = self.objects[made.struct, made.number] = {}
                for field in struct.fields:
                    for part, width in enumerate(self.layout.widths(field)):
                        lanes[field.name, part] = bits.lane(width, self.layout.count(field))
            ends[name] = bits.end
        return ends

    def pack_cells(self, cells: tuple[int, ...]) -> list[int]:
        """The shared words of a state of the reference machine."""
        words = [0] * self.words
        for column in self.memory.columns.values():
            for part in range(column.parts):
                lane = self.shared[column.struct, column.field.name, part]
                for i in range(lane.count):
                    word, shift = lane.at(i)
                    words[word] |= cells[column.base + i * column.parts + part] << shift
        return words

    def pack_thread(
        self, program: Program, stacks: Mapping[str, Memory], thread: int, vpc: int, frames: tuple[tuple[int, ...], ...]
    ) -> list[int]:
        """A thread's own words: its position and the frames of the functions in progress, outermost first."""
        words = [0] * self.thread_words[thread]
        words[0] = vpc
        if not vpc:
            return words
        position = program.position[vpc]
        assert position is not None
        chain = []
        context: Context | None = position[0]
        while context is not None:
            chain.append(context)
            context = context.parent
        for ctx, values in zip(reversed(chain), frames, strict=True):
            name = ctx.code.function.name
            for slot, value in zip(ctx.code.slots, values, strict=False):
                lane = self.vars[name, slot]
                words[lane.word] |= value << lane.shift
            cells = list(values[len(ctx.code.slots) :])
            for made in ctx.code.objects:
                memory = stacks[made.struct]
                for (member, part), lane in self.objects[made.struct, made.number].items():
                    column = memory.columns[made.struct, member]
                    for i in range(lane.count):
                        word, shift = lane.at(i)
                        words[word] |= cells[column.base + i * column.parts + part] << shift
                cells = cells[memory.size :]
        return words
