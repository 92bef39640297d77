# SPDX-License-Identifier: GPL-2.0-only
"""Compiles a scenario, allocates its memory, and drives the workers level by level."""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise

from ptelab import ir
from ptelab.ample import Mode
from ptelab.exploration import Choice, Exploration
from ptelab.machine import Flagged, Machine
from ptelab.native import codegen, compiler, lowlevel
from ptelab.native.codegen import FIRST_FLAG, REACHED_WORDS, SCRATCH_VALUES, SCRATCH_WORDS, Codegen
from ptelab.native.packing import Packing

OUTCOMES_MAX = 1 << 12
TABLE_MIN = 1 << 14
QUICK, OPTIMISED = 0, 2  # LLVM's speed levels
LONG_RUN = 1_500_000  # states from which on optimised code is worth its compilation
BUDGET = 2000  # chunks that a worker expands before Python gets to look at the clock
PARALLEL_LEVEL = 4000  # states in a level from which on it is given to all workers

_END, _CURSOR, _LEVEL_END, _STOP, _ARENA, _CAPACITY, _TABLE, _TABLE_MASK, _GROW_AT, _AMPLE_TABLE = range(10)
_SPARE, _TRANSITIONS, _SCRATCH, _WORK, _OUTCOME_TABLE, _FLAG_TABLE, _INSERTED = range(7)
_LEVEL_DONE, _YIELDED, _GROW, _FULL, _OUTCOMES_FULL = range(5)


@dataclass(slots=True)
class Progress:
    """How far an exploration has come."""

    states: int
    transitions: int
    queue: int  # states of the current level not yet expanded, and those found for the next
    depth: int
    memory_bytes: int
    seconds: float


class _Words:
    """An array of words that native code can reach."""

    def __init__(self, count: int) -> None:
        self.array = (ctypes.c_uint64 * count)()
        self.address = ctypes.addressof(self.array)

    def __getitem__(self, index: int) -> int:
        return self.array[index]

    def __setitem__(self, index: int, value: int) -> None:
        self.array[index] = value


class _Map:
    """Zeroed memory of which only what is touched is used."""

    def __init__(self, words: int) -> None:
        self.bytes = max(8 * words, mmap.PAGESIZE)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
        self._map = mmap.mmap(-1, self.bytes, flags=flags)
        self._view = ctypes.c_char.from_buffer(self._map)
        self.address = ctypes.addressof(self._view)

    def words(self, first: int, count: int) -> list[int]:
        return list((ctypes.c_uint64 * count).from_buffer(self._map, 8 * first))

    def put(self, first: int, values: list[int]) -> None:
        ctypes.memmove(self.address + 8 * first, (ctypes.c_uint64 * len(values))(*values), 8 * len(values))

    def close(self) -> None:
        del self._view
        self._map.close()


class Engine:
    """One exploration; make a new one for each."""

    def __init__(self, machine: Machine, threads: int, memory_bytes: int) -> None:
        self.machine = machine
        self.threads = threads
        self.memory_bytes = memory_bytes
        self.packing = Packing(machine.scenario, machine.program, machine.layout, machine.memory)
        self.words = self.packing.words
        self.record = self.words + 1
        self.codegen = Codegen(
            machine.scenario, machine.program, machine.layout, self.packing, machine.final_name,
            keep_dead=not machine.reduction.dead,
        )  # fmt: skip
        self.outcome_words = len(machine.program.codes[machine.final_name].function.results)
        self.found = Exploration(threads=threads)
        self._outcome_error = False
        self.coverage = False  # whether to note which lines were executed
        self.may_raise: set[str] | None = None  # stop at the first flag that is none of these

    def run(self, time_s: float | None = None, progress: Callable[[Progress], None] | None = None) -> Exploration:
        """Explore; what was found so far when a limit is met or the user interrupts."""
        started = time.monotonic()
        try:
            start = self.machine.initial()
        except Flagged as flagged:
            self.found.flags[flagged.name] = []
            return self.found
        if self.coverage:
            self.codegen.watch_blocks()
        text = self._text()
        self._use(compiler.compile_text(text, QUICK, keep=not self.coverage))
        self._better: Future[compiler.Library] | None = None
        self._source = text
        self._allocate()
        words = self.packing.pack_cells(start[0])
        for thread, (vpc, frames) in enumerate(start[1]):
            self._pack_thread(words, thread, vpc, frames)
        self.arena.put(0, [1 << 63, *words])
        self.control[_END] = 1
        self._rehash(self.control.address, 0, 1)
        self.pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        try:
            self._levels(started, time_s, progress)
        except KeyboardInterrupt:
            self.control[_STOP] = 1
            self.found.complete, self.found.stopped = False, "interrupt"
        finally:
            if self.pool is not None:
                self.pool.shutdown()
            self._collect()
            self.found.seconds = time.monotonic() - started
            self._release()
        return self.found

    # The initial state is built by the machine, which also takes the threads to their first stops.
    def _setup_lines(self) -> set[tuple[str, int]]:
        functions = self.machine.scenario.module.functions
        lines: set[tuple[str, int]] = set()
        for thread in self.machine.scenario.threads:
            name = thread.root
            while name:
                entry = functions[name].blocks[0].stmts
                lines |= {(s.at.file, s.at.line) for s in entry}
                name = next((s.function for s in entry if isinstance(s, ir.Call)), "")
        seen: set[str] = set()
        todo = [self.machine.scenario.setup]
        while todo:
            name = todo.pop()
            if name in functions and name not in seen:
                seen.add(name)
                todo += [s.function for b in functions[name].blocks for s in b.stmts if isinstance(s, ir.Call)]
        return lines | {(s.at.file, s.at.line) for name in seen for b in functions[name].blocks for s in b.stmts}

    def _use(self, library: compiler.Library) -> None:
        self._library = library
        self._work = library.function("work", 3)
        self._rehash = library.function("rehash", 3)

    def _improve(self) -> None:
        """Once a run proves to be long, compile again with optimisation, beside it, and change over when ready.

        Most tests are over before LLVM would have optimised their code; states mean the same to both versions.
        """
        if self._better is None:
            if self.control[_END] > LONG_RUN:
                compile_pool = ThreadPoolExecutor(1)
                self._better = compile_pool.submit(compiler.compile_text, self._source, OPTIMISED, not self.coverage)
                compile_pool.shutdown(wait=False)
        elif self._better.done() and self._library is not self._better.result():
            self._use(self._better.result())

    # ------------------------------------------------------------------------------------------ set-up

    def _text(self) -> str:
        quiet = [r if t.daemon else 0 for t, r in zip(self.machine.scenario.threads, self.machine.rest, strict=True)]
        self._ample_rows: list[int] = []
        first_rows = [0] * len(quiet)
        modes: list[Mode] = []
        mask_words = row_words = 1
        if self.machine.reduction.ample:
            modes = self.machine.ample.modes
            mask_words = max(1, -(-self.machine.ample.classes // 64))
            row_words = 1 + 2 * mask_words * (2 + len(modes))
            first_rows = self._make_rows(mask_words)
        model = self.codegen.text(quiet, modes, first_rows)
        constants = {
            "STATE_WORDS": self.words,
            "THREADS": len(self.machine.scenario.threads),
            "OUTCOMES": self.outcome_words,
            "OUTCOMES_MAX": OUTCOMES_MAX,
            "SCRATCH_RESULTS": SCRATCH_VALUES,
            "AMPLE": int(self.machine.reduction.ample),
            "MASK_WORDS": mask_words,
            "ROW_WORDS": row_words,
            "STATUS_BLOCKED": codegen.BLOCKED,
            "STATUS_OK": codegen.OK,
            "STATUS_NO_ALTERNATIVE": codegen.NO_ALTERNATIVE,
            "STATUS_FLAG": FIRST_FLAG,
            "STATUS_DEADLOCK": self.codegen.flag("deadlock"),
        }
        names = ("transition", "position", "quiet_position", "is_choose", "final", "held_modes", "row_of")
        source = resources.files("ptelab.native").joinpath("explorer.py").read_text()
        search = lowlevel.translate(source, constants, {n: f"@{n}" for n in names})
        return f"{model}\ndeclare void @llvm.prefetch.p0(ptr, i32, i32, i32)\n{search}"

    def _make_rows(self, mask_words: int) -> list[int]:
        """Fill the table that `is_ample` reads; where in it each thread's position 0 would be.

        All threads have a row for position 0, the end, from which on nothing is accessed.
        """
        ample, rows, first_rows = self.machine.ample, self._ample_rows, []

        def words(masks: tuple[int, int]) -> list[int]:
            return [mask >> 64 * k & (1 << 64) - 1 for mask in masks for k in range(mask_words)]

        width = 1 + 2 * mask_words * (1 + len(ample.future))
        known: dict[int, int] = {}
        for t, steps in enumerate(ample.next):
            key = id(ample.future[0][t])
            if key not in known:
                known[key] = len(rows) // width
                rows += [0] * width * (max(steps, default=0) + 1)
                for p, masks in steps.items():
                    row = [int(p in ample.eligible[t]), *words(masks)]
                    for mode in ample.future:
                        row += words(mode[t][p])
                    at = (known[key] + p) * width
                    rows[at : at + width] = row
            first_rows.append(known[key])
        return first_rows

    def _allocate(self) -> None:
        records = max(self.memory_bytes // (8 * self.record + 16), 1024)
        self.arena = _Map(records * self.record)
        self.capacity = records
        self.control = _Words(16)
        self.control[_ARENA] = self.arena.address
        self.control[_CAPACITY] = records
        self._ample_table = _Words(max(1, len(self._ample_rows)))
        for at, value in enumerate(self._ample_rows):
            self._ample_table[at] = value
        self.control[_AMPLE_TABLE] = self._ample_table.address
        self._new_table(TABLE_MIN)
        self.workers: list[_Words] = []
        self._buffers: list[_Words] = []
        for _ in range(self.threads):
            worker = _Words(16)
            sizes = {
                _SCRATCH: SCRATCH_WORDS + self.outcome_words,
                _WORK: self.words,
                _OUTCOME_TABLE: OUTCOMES_MAX * (self.outcome_words + 1),
                _FLAG_TABLE: 2 * (len(self.codegen.flags) + 1),
            }
            for slot, size in sizes.items():
                buffer = _Words(size)
                self._buffers.append(buffer)
                worker[slot] = buffer.address
            self.workers.append(worker)
        self._per_worker = len(sizes)

    def _new_table(self, size: int) -> None:
        self.table = _Map(size)
        self.table_size = size
        self.control[_TABLE] = self.table.address
        self.control[_TABLE_MASK] = size - 1
        self.control[_GROW_AT] = size * 6 // 10

    def _release(self) -> None:
        self.arena.close()
        self.table.close()

    def _pack_thread(self, words: list[int], thread: int, vpc: int, frames: tuple[tuple[int, ...], ...]) -> None:
        base = self.packing.thread_word[thread]
        words[base] |= vpc
        if not vpc:
            return
        position = self.machine.program.position[vpc]
        assert position is not None
        chain = []
        context = position[0]
        while context is not None:
            chain.append(context)
            context = context.parent  # type: ignore[assignment]
        for ctx, values in zip(reversed(chain), frames, strict=True):
            name = ctx.code.function.name
            for slot, value in zip(ctx.code.slots, values, strict=False):
                lane = self.packing.vars[name, slot]
                words[base + lane.word] |= value << lane.shift
            cells = list(values[len(ctx.code.slots) :])
            for made in ctx.code.objects:
                memory = self.machine.stack_memory[made.struct]
                for (member, part), lane in self.packing.objects[made.struct, made.number].items():
                    column = memory.columns[made.struct, member]
                    for i in range(lane.count):
                        word, shift = lane.at(i)
                        words[base + word] |= cells[column.base + i * column.parts + part] << shift
                cells = cells[memory.size :]

    # ------------------------------------------------------------------------------------------ levels

    def _levels(self, started: float, time_s: float | None, progress: Callable[[Progress], None] | None) -> None:
        low, high, depth = 0, 1, 0
        while low < high:
            self.control[_CURSOR] = low
            self.control[_LEVEL_END] = high
            while True:
                self._improve()
                results = self._work_once(high - self.control[_CURSOR])
                if progress is not None:
                    progress(self._progress(depth, started))
                if _FULL in results or _OUTCOMES_FULL in results:
                    self.found.complete = False
                    self.found.stopped = "memory" if _FULL in results else "outcomes"
                    return
                if time_s is not None and time.monotonic() - started > time_s:
                    self.found.complete, self.found.stopped = False, "time"
                    return
                if self.may_raise is not None and self._raised() - self.may_raise:
                    self.found.complete, self.found.stopped = False, "flag"
                    return
                if _GROW in results:
                    if not self._grow():
                        self.found.complete, self.found.stopped = False, "memory"
                        return
                elif all(r == _LEVEL_DONE for r in results) or self.control[_CURSOR] >= high:
                    break
            self._drop_spares()
            low, high = high, min(self.control[_END], self.capacity)
            depth += low < high
            self.found.depth = depth

    def _raised(self) -> set[str]:
        tables = self._buffers[self._per_worker - 1 :: self._per_worker]
        return {name for number, name in enumerate(self.codegen.flags) for raised in tables if raised[2 * number]}

    def _work_once(self, queue: int) -> list[int]:
        control = self.control.address
        if self.pool is None or queue < PARALLEL_LEVEL:
            return [self._work(control, self.workers[0].address, BUDGET)]
        futures = [self.pool.submit(self._work, control, w.address, BUDGET) for w in self.workers]
        try:
            return [f.result() for f in futures]
        except KeyboardInterrupt:
            self.control[_STOP] = 1
            for future in futures:
                future.result()
            raise

    def _drop_spares(self) -> None:
        """A record that a worker reserved but did not need belongs to this level: leave it out for good."""
        for worker in self.workers:
            if worker[_SPARE]:
                self.arena.put((worker[_SPARE] - 1) * self.record, [0])
                worker[_SPARE] = 0

    def _used(self) -> int:
        return 8 * self.record * min(self.control[_END], self.capacity) + 8 * self.table_size

    def _grow(self) -> bool:
        """Double the seen set; false when memory does not allow it."""
        self._drop_spares()
        size = self.table_size * 4 if self.table_size < 1 << 22 else self.table_size * 2
        if self._used() + 8 * size > self.memory_bytes:
            return False
        old = self.table
        self._new_table(size)
        old.close()
        end = self.control[_END]
        if self.pool is None or end < 1 << 16:
            self._rehash(self.control.address, 0, end)
        else:
            cuts = [end * n // self.threads for n in range(self.threads + 1)]
            futures = [self.pool.submit(self._rehash, self.control.address, a, b) for a, b in pairwise(cuts)]
            for future in futures:
                future.result()
        return True

    def _progress(self, depth: int, started: float) -> Progress:
        states = 1 + sum(w[_INSERTED] for w in self.workers)
        queue = max(min(self.control[_END], self.capacity) - self.control[_CURSOR], 0)
        transitions = sum(w[_TRANSITIONS] for w in self.workers)
        return Progress(states, transitions, queue, depth, self._used(), time.monotonic() - started)

    # ----------------------------------------------------------------------------------------- results

    def _collect(self) -> None:
        found = self.found
        if self.coverage:
            found.covered = self.codegen.covered_lines() | self._setup_lines()
        found.states = 1 + sum(w[_INSERTED] for w in self.workers)
        found.transitions = sum(w[_TRANSITIONS] for w in self.workers)
        found.memory_bytes = self._used()
        outcomes: dict[tuple[int, ...], int] = {}
        flags: dict[int, tuple[int, int]] = {}
        for n in range(len(self.workers)):
            scratch, _, table, raised = self._buffers[n * self._per_worker : (n + 1) * self._per_worker]
            for bit, name in enumerate(self.codegen.situations):
                if scratch[bit // 64] >> bit % 64 & 1:
                    found.reached.add(name)
            width = self.outcome_words + 1
            for row in range(OUTCOMES_MAX):
                first = table[row * width]
                if first:
                    outcome = tuple(table.array[row * width + 1 : (row + 1) * width])
                    outcomes[outcome] = min(first, outcomes.get(outcome, first))
            for number in range(len(self.codegen.flags)):
                if raised[2 * number]:
                    entry = (raised[2 * number], raised[2 * number + 1])
                    flags[number] = min(entry, flags.get(number, entry))
        for outcome, record in sorted(outcomes.items(), key=lambda item: item[1]):
            found.outcomes[outcome] = self._choices(record - 1)
        for number, (record, choice) in sorted(flags.items()):
            last = [((choice & 0xFF) - 1, choice >> 8)] if choice & 0xFF else []
            found.flags[self.codegen.flags[number]] = self._choices(record - 1) + last
        found.reached |= self.machine.reached

    def _choices(self, record: int) -> list[Choice]:
        choices: list[Choice] = []
        while True:
            meta = self.arena.words(record * self.record, 1)[0]
            parent = meta & ((1 << 40) - 1)
            if not parent:
                return choices[::-1]
            choices.append((meta >> 40 & 0xFF, meta >> 48 & 0x7FFF))
            record = parent - 1


assert REACHED_WORDS <= SCRATCH_VALUES
