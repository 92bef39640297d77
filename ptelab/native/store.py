# SPDX-License-Identifier: GPL-2.0-only
"""The memory of a search: the seen set, the records, what parts hold, and each worker's own; makes room when asked.

What lies where is told in `explorer.py`, whose constants are used here by name.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ptelab.native import explorer as x
from ptelab.native.compiler import Library
from ptelab.native.memory import Map, Words

HIGH_BITS_MAX = 16
CODE_BITS = 64
SHARED_BITS, OWN_BITS = 20, 8  # of the numbers of contents of shared memory and of other parts, to begin with
SLOTS_MIN = 1 << 14
SLOTS_EAGER = 1 << 22  # up to this size the seen set grows by four, then by two
SHORT_REST, LONG_REST = 27, 59  # bits of a fingerprint that an entry of 32 or 64 bits has room for
SHORT_MAX = 48
MEMO_EAGER = 1 << 21  # bytes: so does the memo
INDEX_MIN = 1 << 10
MEMO_BITS_MIN = 11
PIPE_MIN = 1 << 12
SLICE = 1 << 18  # slots that are moved before the memory that they had is given back


_KEPT_OF_PART = (x.P_COUNT, x.P_LIMIT, x.P_SHIFT, x.P_MASK, x.P_HIGH)
_SUMS = (x.TRANSITIONS, x.INSERTED, x.EXECUTED)


class TooFine(Exception):
    """The numbers of the parts do not fit a code: fewer parts are needed."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the search has to know of a program."""

    parts: list[tuple[int, int]]  # first word in the state, number of words; part 0 is shared memory
    units: list[tuple[int, int, int, bool]]  # part, first thread, last thread + 1, whether all zero means ended
    threads: list[tuple[int, int, int, int]]  # number, first word in the state, rest position, row of the ample table
    state_words: int
    outcome_words: int
    flags: int
    columns: int  # words that sorting like threads needs


class Worker:
    """A worker's own block and what it points to."""

    def __init__(self, shape: Shape, scratch_words: int, list_bytes: int) -> None:
        self.block = Words(x.WORKER_WORDS)
        self.scratch = Words(scratch_words + shape.outcome_words)
        self.flags = Words(2 * (shape.flags + 1))
        self.outcomes = Map(8 * x.OUTCOMES_MAX * (shape.outcome_words + 1))
        self.lists = Map(list_bytes)
        self.pipe = Map(24 * PIPE_MIN)
        self._others = {
            x.SOURCE: Words(shape.state_words),
            x.TARGET: Words(shape.state_words),
            x.PAIRS: Words(x.CHUNK * (1 + 3 * len(shape.units))),
            x.POSITIONS: Words(len(shape.units)),
            x.COLUMNS: Words(shape.columns),
        }
        for at, words in self._others.items():
            self.block[at] = words.address
        self.block[x.SCRATCH] = self.scratch.address
        self.block[x.FLAG_TABLE] = self.flags.address
        self.block[x.OUTCOME_TABLE] = self.outcomes.address
        self.block[x.LIST] = self.lists.address
        self.block[x.LIST_ROOM] = list_bytes // 8
        self.block[x.PIPE] = self.pipe.address
        self.block[x.PIPE_ROOM] = PIPE_MIN

    def used(self) -> int:
        return 8 * self.block[x.LIST_USED] + self.pipe.bytes

    def close(self) -> None:
        for memory in (self.outcomes, self.lists, self.pipe):
            memory.close()


class Store:
    """All memory of one search."""

    def __init__(
        self, library: Library, shape: Shape, memory_bytes: int, workers: int, scratch_words: int, bits: int = 0
    ) -> None:
        self.shape = shape
        self.memory_bytes = memory_bytes
        self.control = Words(x.CONTROL_WORDS)
        self.workers = [Worker(shape, scratch_words, max(memory_bytes // 4, 1 << 24)) for _ in range(workers)]
        self.pool = ThreadPoolExecutor(workers) if workers > 1 else None
        self._intern = library.function("intern", 3)
        self._first = library.function("first", 4)
        self._keep_outcome = library.function("keep_outcome", 4)
        self._migrate = library.function("migrate", 7)
        self._migrate_prints = library.function("migrate_prints", 6)
        self._reindex = library.function("reindex", 1)
        self._move_memo = library.function("move_memo", 3)
        self._repack_queue = library.function("repack_queue", 4)
        self._repack_pipe = library.function("repack_pipe", 2)
        room = max(memory_bytes, 1 << 24)
        self.meta, self.queue, self.highs = Map(room), Map(room), Map(room // 4)
        for at, memory in ((x.META, self.meta), (x.QUEUE, self.queue), (x.HIGHS, self.highs)):
            self.control[at] = memory.address
        self.broken = False  # the seen set is lost; what else was found stands
        self.pending: list[tuple[int, int]] = []  # records of the level that were taken but not all expanded
        self._gaps: list[tuple[int, int]] = []  # records reserved by workers that are no more
        self._parts = Words(x.P_SIZE * len(shape.parts))
        self._contents = [Map(room if words else 1) for _, words in shape.parts]
        self._indexes = [Map(8 * INDEX_MIN) for _ in shape.parts]
        self._describe()
        self.memo = Map(32 << MEMO_BITS_MIN)
        self.control[x.MEMO], self.control[x.MEMO_BITS] = self.memo.address, MEMO_BITS_MIN
        self.table = Map(0)
        self.bits = self.control[x.PRINT_BITS] = bits  # of fingerprints; 0: states themselves are kept
        self.control[x.SHORT] = int(0 < bits <= SHORT_MAX and 64 << max(bits - SHORT_REST, 0) <= memory_bytes // 4)
        self._slots_of_line = 16 if self.control[x.SHORT] else 8
        rest = SHORT_REST if self.control[x.SHORT] else LONG_REST
        self._new_table(max(SLOTS_MIN, self._slots_of_line << max(bits - rest, 0)))

    def _describe(self) -> None:
        """Write the blocks of parts, units and threads."""
        shape, control = self.shape, self.control
        control[x.PART], control[x.PARTS] = self._parts.address, len(shape.parts)
        for n, (first, words) in enumerate(shape.parts):
            self._set(n, x.P_FIRST, first)
            self._set(n, x.P_WORDS, words)
            self._set(n, x.P_BASE, self._contents[n].address)
            self._set(n, x.P_INDEX, self._indexes[n].address)
            self._set(n, x.P_INDEX_MASK, INDEX_MIN - 1)
        others = len(shape.parts) - 1
        own = max(1, min(OWN_BITS, (CODE_BITS - min(20, CODE_BITS // 3)) // others))
        self._lay_out([min(SHARED_BITS, CODE_BITS - own * others), *[own] * others])
        self._units = Words(x.U_SIZE * len(shape.units))
        for n, (part, first, last, ends) in enumerate(shape.units):
            block = [self._parts.address + 8 * x.P_SIZE * part, first, last, int(ends)]
            self._units.fill(x.U_SIZE * n, block)
        self._threads = Words(x.T_SIZE * len(shape.threads))
        for n, thread in enumerate(shape.threads):
            self._threads.fill(x.T_SIZE * n, thread)
        control[x.UNIT], control[x.UNITS] = self._units.address, len(shape.units)
        control[x.THREAD] = self._threads.address
        control[x.STATE_WORDS], control[x.OUTCOMES] = shape.state_words, shape.outcome_words

    def _get(self, part: int, at: int) -> int:
        return self._parts[x.P_SIZE * part + at]

    def _set(self, part: int, at: int, value: int) -> None:
        self._parts[x.P_SIZE * part + at] = value

    # --------------------------------------------------------------------------------------- layout

    def _lay_out(self, widths: list[int]) -> None:
        """Give each part's number a place in the code: in its 64 bits as far as they go, else in the high bits."""
        ends = [0, 0]
        placed: dict[int, tuple[int, int]] = {}
        for n in sorted(range(len(widths)), key=lambda n: -widths[n]):
            high = int(ends[0] + widths[n] > CODE_BITS)
            placed[n] = (high, ends[high])
            ends[high] += widths[n]
        if ends[1] > HIGH_BITS_MAX or max(widths) > 32:
            raise TooFine
        for n, (high, shift) in placed.items():
            for old, new in ((x.P_OLD_HIGH, x.P_HIGH), (x.P_OLD_SHIFT, x.P_SHIFT), (x.P_OLD_MASK, x.P_MASK)):
                self._set(n, old, self._get(n, new))
            self._set(n, x.P_HIGH, high)
            self._set(n, x.P_SHIFT, shift)
            self._set(n, x.P_MASK, (1 << widths[n]) - 1)
            self._set(n, x.P_LIMIT, 1 << widths[n])
        self.control[x.HIGH_BITS] = ends[1]

    def _wider(self) -> list[int]:
        """Widths with which every part has room for more contents; bits to spare go round."""
        counts = [self._get(n, x.P_COUNT) for n in range(len(self.shape.parts))]
        widths = [max(1, count.bit_length()) for count in counts]
        spare = CODE_BITS - sum(widths)
        turn = sorted(range(len(widths)), key=lambda n: -counts[n] / (1 << widths[n]))
        n = 0
        while spare > 0 and any(w < 32 for w in widths):
            if widths[turn[n % len(turn)]] < 32:
                widths[turn[n % len(turn)]] += 1
                spare -= 1
            n += 1
        return widths

    def _relayout(self) -> bool:
        before, high_bits = list(self._parts.array), self.control[x.HIGH_BITS]
        self._lay_out(self._wider())
        slots = max(self.slots, 8 << (self.control[x.HIGH_BITS] + 5))
        if not self.bits and not self._replace_table(slots, repack=True):
            self._parts.fill(0, before)  # what is there, and may be written down, is still laid out as it was
            self.control[x.HIGH_BITS] = high_bits
            return False
        low = self.pending_from(min(self.control[x.CURSOR], self.control[x.LEVEL_END]))
        control, own = self.control.address, self.workers[0].block.address
        self._repack_queue(control, own, low, self.control[x.END])
        for worker in self.workers:
            self._repack_pipe(control, worker.block.address)
        self._forget()
        return True

    # ---------------------------------------------------------------------------------------- table

    def _new_table(self, slots: int) -> None:
        self.slots = slots
        self.table = Map(self._slot_bytes * slots, huge=True)
        self.control[x.TABLE] = self.table.address
        self.control[x.BUCKET_BITS] = (slots // self._slots_of_line).bit_length() - 1
        self.control[x.ROOM_AT] = slots * 8 // 10

    @property
    def _slot_bytes(self) -> int:
        return 64 // self._slots_of_line

    def _replace_table(self, slots: int, repack: bool) -> bool:
        if self.used() + self._slot_bytes * (slots - (0 if repack else self.slots)) > self.memory_bytes:
            return False
        old, old_slots, bits = self.table, self.slots, self.control[x.BUCKET_BITS]
        self._new_table(slots)
        # Workers take pieces as they can: memory that the machine has to find costs more than what was just given back.
        pieces = deque(range(0, old_slots, SLICE))

        def move(worker: Worker) -> bool:
            with contextlib.suppress(IndexError):
                while True:
                    low = pieces.popleft()
                    high = min(low + SLICE, old_slots)
                    if self.bits:
                        failed = self._migrate_prints(self.control.address, old.address, low, high, bits, 0)
                    else:
                        own = worker.block.address
                        failed = self._migrate(self.control.address, own, old.address, low, high, bits, int(repack))
                    if failed:
                        pieces.clear()
                        return False
                    old.release_part(self._slot_bytes * low, self._slot_bytes * high)
            return True

        if not all(self._all(move, [(worker,) for worker in self.workers])):
            self.broken = True  # some state has no place: what is moved and what is not cannot be told any more
            old.close()
            return False
        old.close()
        return True

    def _grow_table(self) -> bool:
        factors = (4, 2) if self.slots < SLOTS_EAGER else (2,)
        if any(self._replace_table(self.slots * factor, repack=False) for factor in factors if not self.broken):
            return True
        if self.broken:
            return False
        last = self.slots * 93 // 100
        reserved = self.control[x.END] + x.OUT_CHUNK * len(self.workers)  # by workers, who may have given some back
        full = self.control[x.ROOM_AT] == last or reserved < self.control[x.ROOM_AT]
        self.control[x.ROOM_AT] = last
        return not full

    def _all(self, function: Callable[..., bool], arguments: Sequence[tuple[Worker, ...]]) -> list[bool]:
        if self.pool is None:
            return [function(*a) for a in arguments]
        return [f.result() for f in [self.pool.submit(function, *a) for a in arguments]]

    # ----------------------------------------------------------------------------------------- room

    def make_room(self) -> bool:
        """Enlarge whatever is full; false when the limit does not allow it.  No worker may be at work."""
        done = False
        for n in range(len(self.shape.parts)):
            if self._get(n, x.P_COUNT) * 5 >= self._get(n, x.P_INDEX_MASK) * 3:
                self._grow_index(n)
                done = True
        for worker in self.workers:
            done |= self._grow_worker(worker)
        done |= self._grow_memo()
        if any(self._get(n, x.P_COUNT) >= self._get(n, x.P_LIMIT) for n in range(len(self.shape.parts))):
            if not self._relayout():
                return False
            done = True
        if self.control[x.END] >= self.control[x.ROOM_AT] or not done:
            return self._grow_table()
        return self.used() <= self.memory_bytes

    def _grow_index(self, part: int) -> None:
        size = 4 * (self._get(part, x.P_INDEX_MASK) + 1)
        while self._get(part, x.P_COUNT) * 5 >= size * 2:
            size *= 4
        self._indexes[part].close()
        self._indexes[part] = Map(8 * size)
        self._set(part, x.P_INDEX, self._indexes[part].address)
        self._set(part, x.P_INDEX_MASK, size - 1)
        self._reindex(self._parts.address + 8 * x.P_SIZE * part)

    def _grow_worker(self, worker: Worker) -> bool:
        block, done = worker.block, False
        if block[x.PIPE_WANTED] > block[x.PIPE_ROOM]:
            worker.pipe.close()
            worker.pipe = Map(48 * block[x.PIPE_WANTED])
            block[x.PIPE], block[x.PIPE_ROOM] = worker.pipe.address, 2 * block[x.PIPE_WANTED]
            done = True
        return done

    def _grow_memo(self) -> bool:
        control, done = self.control, False
        if any(w.block[x.LIST_USED] + (1 << 17) > w.block[x.LIST_ROOM] for w in self.workers):
            self._forget()
            done = True
        if control[x.MEMO_COUNT] * 4 >= 3 << control[x.MEMO_BITS]:
            room = min(max(self.memory_bytes // 8, 1 << 18), self.memory_bytes - self.used())
            steps = (2, 1) if self.memo.bytes < MEMO_EAGER else (1,)
            bits = next((bits for bits in steps if self.memo.bytes << bits <= room), 0)
            if bits:
                self._replace_memo(bits)
            else:
                self._forget()
            done = True
        return done

    def _replace_memo(self, bits: int) -> None:
        """Make the memo larger, by so many bits of the number of its slots."""
        old, slots = self.memo, 1 << self.control[x.MEMO_BITS]
        self.memo = Map(old.bytes << bits, huge=True)
        self.control[x.MEMO] = self.memo.address
        self.control[x.MEMO_BITS] += bits
        self._move_memo(self.control.address, old.address, slots)
        old.close()

    def _forget(self) -> None:
        """Empty the memo, and the lists that it points to."""
        self.memo.clear()
        self.control[x.MEMO_COUNT] = 0
        for worker in self.workers:
            worker.block[x.LIST_USED] = 0

    # -------------------------------------------------------------------------------------- records

    def begin(self, words: list[int]) -> None:
        """Make the packed initial state record 0."""
        ended = Words(max(words_ for _, words_ in self.shape.parts))
        state = Words(len(words))
        state.fill(0, words)
        code = [0, 0]
        for part, _, _, ends in self.shape.units:
            if ends and not self._get(part, x.P_COUNT):
                self._number(part, ended.address)
        for n, (at, _) in enumerate(self.shape.parts):
            number = self._number(n, state.address + 8 * at)
            code[self._get(n, x.P_HIGH)] |= number << self._get(n, x.P_SHIFT)
        self._first(self.control.address, self.workers[0].block.address, *code)

    def _number(self, part: int, words: int) -> int:
        return self._intern(self.control.address, self._parts.address + 8 * x.P_SIZE * part, words) - 1

    def close_gaps(self) -> None:
        """Move records of the level just found into the places that workers reserved but did not need."""
        gaps = sorted(self._reserved(), reverse=True)
        self._gaps.clear()
        for worker in self.workers:
            worker.block[x.OUT] = worker.block[x.OUT_END] = 0
        end = self.control[x.END]
        for start, stop in gaps:  # the last first: behind it is no other
            size = stop - start
            moved = min(size, end - stop)
            self.meta.move(8 * (end - moved), 8 * start, 8 * moved)
            self.queue.move(8 * (end - moved), 8 * start, 8 * moved)
            if self.control[x.HIGH_BITS]:
                self.highs.move(2 * (end - moved), 2 * start, 2 * moved)
            end -= size
        self.control[x.END] = end

    def _reserved(self) -> list[tuple[int, int]]:
        blocks = [w.block for w in self.workers]
        return self._gaps + [(b[x.OUT], b[x.OUT_END]) for b in blocks if b[x.OUT] < b[x.OUT_END]]

    def _taken(self) -> list[tuple[int, int]]:
        blocks = [w.block for w in self.workers]
        return self.pending + [(b[x.AT], b[x.TAKEN_END]) for b in blocks if b[x.AT] < b[x.TAKEN_END]]

    def idle(self, worker: Worker) -> bool:
        """Whether a worker has nothing in hand: neither records to expand nor states to add."""
        return worker.block[x.AT] >= worker.block[x.TAKEN_END] and not worker.block[x.PIPE_TAIL]

    def hand_out(self) -> None:
        """Give idle workers what others had taken before a checkpoint."""
        for worker in self.workers:
            if self.pending and self.idle(worker):
                at, end = self.pending.pop()
                worker.block[x.AT] = worker.block[x.CHUNK_START] = at
                worker.block[x.CHUNK_END] = min(at + x.CHUNK, end)
                worker.block[x.TAKEN_END] = end

    def pending_from(self, low: int) -> int:
        """The first record that is not expanded, when from `low` on none is but in workers' hands."""
        return min([low, *(at for at, _ in self._taken())])

    def leave_behind(self, low: int) -> None:
        """Nobody reads the codes of records before `low` any more."""
        self.queue.release(8 * low)
        self.highs.release(2 * low)

    def used(self) -> int:
        """Bytes in use."""
        end = self.control[x.END]
        used = self._slot_bytes * self.slots + 16 * end - self.queue.released
        if self.control[x.HIGH_BITS]:
            used += 2 * end - self.highs.released
        for n, index in enumerate(self._indexes):
            used += index.bytes + 8 * self._get(n, x.P_WORDS) * self._get(n, x.P_COUNT)
        return used + self.memo.bytes + sum(worker.used() for worker in self.workers)

    # ---------------------------------------------------------------------------------- checkpoints

    def kept_contents(self) -> Iterator[tuple[Map, int, int]]:
        """The memory of the parts' contents, and the bytes of it in use."""
        for n, memory in enumerate(self._contents):
            yield memory, 0, 8 * self._get(n, x.P_WORDS) * self._get(n, x.P_COUNT)

    def summary(self) -> dict[str, Any]:
        """What `restore` needs besides the memory itself."""
        blocks = [w.block for w in self.workers]
        width = self.shape.outcome_words + 1
        return {
            "slots": self.slots, "end": self.control[x.END], "high_bits": self.control[x.HIGH_BITS],
            "cursor": self.control[x.CURSOR],
            "parts": [[self._get(n, at) for at in _KEPT_OF_PART] for n in range(len(self.shape.parts))],
            "sums": [sum(b[at] for b in blocks) for at in _SUMS],
            "flags": [list(w.flags.array) for w in self.workers],
            "reached": [list(w.scratch.array[: x.REACHED_WORDS]) for w in self.workers],
            "outcomes": [row for w in self.workers for row in w.outcomes.rows(x.OUTCOMES_MAX, width)],
            "taken": self._taken(), "gaps": self._reserved(),
            "pipe": [w.pipe.word(n) for w in self.workers
                     for n in range(3 * w.block[x.PIPE_HEAD], 3 * w.block[x.PIPE_TAIL])],
        }  # fmt: skip

    def restore(self, kept: dict[str, Any]) -> None:
        """Become as large as the search was that this summary is of; its memory is read next."""
        self.table.close()
        self._new_table(kept["slots"])
        self.control[x.END], self.control[x.HIGH_BITS] = kept["end"], kept["high_bits"]
        self.control[x.CURSOR] = kept["cursor"]
        for n, values in enumerate(kept["parts"]):
            for at, value in zip(_KEPT_OF_PART, values, strict=True):
                self._set(n, at, value)

    def restored(self, kept: dict[str, Any]) -> None:
        """Make the rest from the memory that was read."""
        for n in range(len(self.shape.parts)):
            self._grow_index(n)
        first = self.workers[0]
        for at, value in zip(_SUMS, kept["sums"], strict=True):
            first.block[at] = value
        for flags in kept["flags"]:
            for at in range(0, len(flags), 2):
                if flags[at] and (not first.flags[at] or flags[at] < first.flags[at]):
                    first.flags[at], first.flags[at + 1] = flags[at], flags[at + 1]
        for reached in kept["reached"]:
            for at, bits in enumerate(reached):
                first.scratch[at] |= bits
        results = Words(self.shape.outcome_words)
        for record, *values in kept["outcomes"]:
            results.fill(0, values)
            self._keep_outcome(first.block.address, record - 1, results.address, len(values))
        first.block[x.PIPE_WANTED] = max(len(kept["pipe"]) // 3, PIPE_MIN)
        self._grow_worker(first)
        for at, value in enumerate(kept["pipe"]):
            first.pipe.put(at, value)
        first.block[x.PIPE_TAIL] = len(kept["pipe"]) // 3
        self.leave_behind(kept["first"])
        self.pending = [(at, end) for at, end in kept["taken"]]
        self._gaps = [(at, end) for at, end in kept["gaps"]]

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown()
        for memory in (self.table, self.memo, self.meta, self.queue, self.highs, *self._contents, *self._indexes):
            memory.close()
        for worker in self.workers:
            worker.close()
