# SPDX-License-Identifier: GPL-2.0-only
"""Compiles a scenario, allocates its memory, and drives the workers level by level."""

from __future__ import annotations

import contextlib
import functools
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import FrameType

from ptelab import flow
from ptelab.ample import Mode
from ptelab.exploration import Choice, Exploration
from ptelab.machine import Flagged, Machine, State
from ptelab.native import compiler, lowlevel
from ptelab.native import explorer as x
from ptelab.native.checkpoint import Checkpoint, Progressed
from ptelab.native.codegen import Codegen
from ptelab.native.memory import Words, resident_bytes
from ptelab.native.scratch import (
    FIRST_FLAG,
    REACHED_WORDS,
    SCRATCH_ROUNDS,
    SCRATCH_THREAD,
    SCRATCH_VALUES,
)
from ptelab.native.store import Shape, Store, TooFine
from ptelab.packing import Packing

QUICK, OPTIMISED = 0, 2  # LLVM's speed levels: of the model, of the search
BUDGET = 1000  # chunks that a worker expands before Python gets to look at the clock, to begin with
ROUND_S = 0.02, 0.1  # seconds that such a round should take: what goes on between two of them costs 0.2 ms
FREE_FOR_RECORD = 256  # bytes that must be free for each record that is expanded unwatched
COARSEST = 2  # the last way to group threads into parts
LEAST_BYTES = 32 << 20  # what a search may have when the process without it is at its limit
PARALLEL_LEVEL = 4000  # states in a level from which on it is given to all workers


@dataclass(slots=True)
class Progress:
    """How far an exploration has come."""

    states: int
    transitions: int
    queue: int  # states of the current level not yet expanded, and those found for the next
    depth: int
    memory_bytes: int
    seconds: float


@functools.cache
def _search() -> compiler.Library:
    """The search, which is the same for all programs."""
    folder = resources.files("ptelab.native")
    names = ("explorer.py", "finding.py", "tables.py", "columns.py", "prints.py")
    source = "".join(folder.joinpath(name).read_text() for name in names)
    return compiler.compile_text(lowlevel.translate(source, {}, {}), OPTIMISED)


class Engine:
    """One exploration; make a new one for each."""

    def __init__(self, machine: Machine, threads: int, memory_bytes: int, groups: int = 0) -> None:
        self.machine = machine
        self.threads = threads
        self.memory_bytes = memory_bytes
        self.whole_process = False  # whether `memory_bytes` is for all that the process has, not for the search alone
        self._limit = memory_bytes
        self.outcome_words = len(machine.program.codes[machine.final_name].function.results)
        self.found = Exploration(threads=threads)
        self.coverage = False  # whether to note which lines were executed
        self.checkpoints: Path | None = None  # the directory for how far it has come when it stops, to go on from
        self.resume = False
        self.fingerprint = 0  # bits of a state to keep; 0 keeps all
        self.may_raise: set[str] | None = None  # stop at the first flag that is none of these
        self._chunks = BUDGET
        self._groups = groups  # how coarsely threads are grouped into parts: see `_grouped`

    def run(self, time_s: float | None = None, progress: Callable[[Progress], None] | None = None) -> Exploration:
        """Explore; what was found so far when a limit is met or the user interrupts."""
        started = time.monotonic()
        try:
            start = self.machine.initial()
        except Flagged as flagged:
            self.found.flags[flagged.name] = []
            return self.found
        self._file = Checkpoint(self.checkpoints, self.machine.scenario) if self.checkpoints else None
        if self.resume and self._file is not None:
            self._groups = self._file.groups()
        with self._interrupts():
            while True:
                self._prepare()
                try:
                    self._explore(start, started, time_s, progress)
                except TooFine:
                    if self._groups < COARSEST:
                        self.store.close()
                        self._groups += 1
                        self.resume = self._working = False
                        self.found = Exploration(threads=self.threads)
                        continue
                    self.found.complete, self.found.stopped = False, "memory"  # two parts do not fit a word
                except KeyboardInterrupt:
                    self.found.complete, self.found.stopped = False, "interrupt"
                self._collect()
                if self.fingerprint:
                    self.found.fingerprint_bits = self.fingerprint
                    self.found.stopped = self.found.stopped or "fingerprint"
                    self.found.complete = False
                self.found.seconds = time.monotonic() - started
                self.store.close()
                return self.found

    def _explore(
        self, start: State, started: float, time_s: float | None, progress: Callable[[Progress], None] | None
    ) -> None:
        at = self._file.read(self.store) if self.resume and self._file is not None else None
        if at is None:
            at = Progressed(0, 1, 0)
            self._begin(start)
            self.control[x.CURSOR] = 0
        else:
            self.found.resumed_states = sum(w[x.INSERTED] for w in self.workers)
        self._working = True
        self._levels(at, started, time_s, progress)
        if self._file is not None:
            if self.found.complete:
                self._file.remove()
            elif self.store.broken:
                self.found.checkpoint = "no checkpoint: the seen set was lost when it should have grown"
            else:
                self.found.checkpoint = self._file.write(self.store, at, self._groups)

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Ctrl-C stops the workers at the next state; only when it is pressed again, Python where it stands."""
        self._interrupted = self._working = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def stop(number: int, frame: FrameType | None) -> None:
            if self._interrupted or not self._working:
                raise KeyboardInterrupt
            self._interrupted = True
            self.control[x.STOP] = 1

        if before is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _grouped(self) -> list[list[int]]:
        """Which threads share a part: none, those on one CPU, or all."""
        threads = self.machine.scenario.threads
        if self._groups == 0:
            return [[t] for t in range(len(threads))]
        if self._groups == COARSEST:
            return [list(range(len(threads)))]
        cpus = dict.fromkeys(t.cpu for t in threads)
        return [[n for n, t in enumerate(threads) if t.cpu == cpu] for cpu in cpus]

    def _prepare(self) -> None:
        """Compile the program and lay out memory."""
        machine = self.machine
        groups = self._grouped()
        self.packing = Packing(machine.scenario, machine.program, machine.layout, machine.memory, groups)
        self.codegen = Codegen(
            machine.scenario, machine.program, machine.layout, self.packing, machine.final_name,
            keep_dead=not machine.reduction.dead,
        )  # fmt: skip
        if self.coverage:
            self.codegen.watch_blocks()
        self._ample_rows: list[int] = []
        first_rows = [0] * len(machine.scenario.threads)
        modes: list[Mode] = []
        mask_words = row_words = 1
        if machine.reduction.ample:
            modes = machine.ample.modes
            mask_words = max(1, -(-machine.ample.classes // 64))
            row_words = 1 + 2 * mask_words * (2 + len(modes))
            first_rows = self._make_rows(mask_words)
        source = self.codegen.text(modes)
        self._make_columns()
        deadlock = self.codegen.flag("deadlock")
        if len(self.codegen.flags) + FIRST_FLAG >= 0xFF:
            raise ValueError("too many flags")
        shape = self._shape(groups, first_rows)
        scratch_words = SCRATCH_VALUES + self.codegen.values_max()
        self.store = Store(_search(), shape, self.memory_bytes, self.threads, scratch_words, self.fingerprint)
        self.control = self.store.control
        self.workers = [w.block for w in self.store.workers]
        self._work = _search().function("work", 3)
        self._library = compiler.compile_text(source, QUICK, keep=not self.coverage)
        for at, name in ((x.TRANSITION, "transition"), (x.FINAL, "final"), (x.HELD, "held_modes")):
            self.control[at] = self._library.address(name)
        self._share_memory()
        self._set_constants(deadlock, mask_words, row_words)

    def _shape(self, groups: list[list[int]], first_rows: list[int]) -> Shape:
        threads, rest = self.machine.scenario.threads, self.machine.rest
        quiet = [r if t.daemon else 0 for t, r in zip(threads, rest, strict=True)]
        part_of = {t: n for n, group in enumerate(groups, 1) for t in group}
        if self.machine.reduction.ample:
            order = list(range(len(threads)))
            units = [(part_of[t], t, t + 1) for t in order]
        else:
            order = [t for group in groups for t in group]
            ends = list(itertools.accumulate(len(group) for group in groups))
            units = [(n, end - len(group), end) for n, (group, end) in enumerate(zip(groups, ends, strict=True), 1)]
        ending = {n for n, group in enumerate(groups, 1) if not any(threads[t].daemon for t in group)}
        return Shape(
            self.packing.parts,
            [(*unit, unit[0] in ending) for unit in units],
            [(t, self.packing.thread_word[t], quiet[t], first_rows[t]) for t in order],
            self.packing.words,
            self.outcome_words,
            len(self.codegen.flags),
            self._columns,
        )

    def _set_constants(self, deadlock: int, mask_words: int, row_words: int) -> None:
        control = self.control
        self._ample_table = Words(len(self._ample_rows))
        self._ample_table.fill(0, self._ample_rows)
        positions = self.machine.program.position
        self._chooses = Words(len(positions) // 64 + 1)
        for n, position in enumerate(positions):
            if position is not None and position[1].choose:
                self._chooses[n // 64] |= 1 << n % 64
        control[x.AMPLE] = int(self.machine.reduction.ample)
        control[x.AMPLE_TABLE] = self._ample_table.address
        control[x.MASK_WORDS], control[x.ROW_WORDS] = mask_words, row_words
        control[x.CHOOSES] = self._chooses.address
        control[x.POSITION_MASK] = self.packing.position.mask
        control[x.DEADLOCK] = deadlock
        control[x.SYMMETRY] = self._symmetry.address if self._columns else 0

    def _make_columns(self) -> None:
        """Fill the table that `stands_for` reads."""
        symmetry, table = self.machine.symmetry, [0]
        self._columns = 0
        for r, rows in zip(symmetry.ranges, symmetry.lanes(self.packing.shared), strict=True) if symmetry else ():
            words, spots = self.packing.thread_words[r.start], len(rows[0])
            block = [4 + spots + len(r) * (1 + spots), len(r), words, spots, *((1 << w) - 1 for _, _, w, _ in rows[0])]
            for t, row in zip(r, rows, strict=True):
                block += [
                    self.packing.thread_word[t],
                    *(number << 32 | word << 6 | shift for word, shift, _, number in row),
                ]
            table[0] += 1
            table += block
            self._columns = max(self._columns, (len(r) + 1) * (words + spots))
        self._symmetry = Words(len(table))
        self._symmetry.fill(0, table)

    def _begin(self, start: State) -> None:
        words = self.packing.pack_cells(start[0])
        for thread, (vpc, frames) in enumerate(start[1]):
            own = self.packing.pack_thread(self.machine.program, self.machine.stack_memory, thread, vpc, frames)
            base = self.packing.thread_word[thread]
            words[base : base + len(own)] = own
        self.store.begin(words)

    # The initial state is built by the machine, which also takes the threads to their first stops.
    def _setup_lines(self) -> set[tuple[str, int]]:
        functions = self.machine.scenario.module.functions
        scenario = self.machine.scenario
        seen = flow.called_from(functions, [scenario.setup] if scenario.setup else [])
        return {(s.at.file, s.at.line) for name in seen for b in functions[name].blocks for s in b.stmts}

    def _share_memory(self) -> None:
        """Leave the search what Python, LLVM and the model do not have, as far as a limit lets it have anything."""
        if self.whole_process:
            others = max(resident_bytes() - self.store.used(), 0)
            self.memory_bytes = max(self._limit - others, min(self._limit, LEAST_BYTES))
            self.store.memory_bytes = self.memory_bytes

    # ------------------------------------------------------------------------------------------ set-up

    def _make_rows(self, mask_words: int) -> list[int]:
        """Fill the table that `is_ample` reads; where in it each thread's position 0 would be.

        All threads have a row for position 0, the end, from which on nothing is accessed.
        """
        ample, rows, first_rows = self.machine.ample, self._ample_rows, []

        @functools.cache
        def words(masks: tuple[int, int]) -> list[int]:
            return [mask >> 64 * k & (1 << 64) - 1 for mask in masks for k in range(mask_words)]

        width = 1 + 2 * mask_words * (1 + len(ample.future))
        known: dict[int, int] = {}
        for t, steps in enumerate(ample.next):
            key = id(ample.future[0][t])
            if key not in known:
                known[key] = len(rows) // width
                rows += [0] * width * (max(steps, default=0) + 1)
                modes = [mode[t] for mode in ample.future]
                for p, masks in steps.items():
                    row = [int(p in ample.eligible[t]), *words(masks)]
                    for mode in modes:
                        row += words(mode[p])
                    at = (known[key] + p) * width
                    rows[at : at + width] = row
            first_rows.append(known[key])
        return first_rows

    # ------------------------------------------------------------------------------------------ levels

    def _levels(
        self, at: Progressed, started: float, time_s: float | None, progress: Callable[[Progress], None] | None
    ) -> None:
        self.found.depth = at.depth
        while at.low < at.high:
            self.control[x.LEVEL_END] = at.high
            over = False
            while not over:
                over = self._finished(self._work_once(at.high - self.control[x.CURSOR]))
                if progress is not None:
                    progress(self._progress(at.depth, started))
                if time_s is not None and time.monotonic() - started > time_s:
                    self.found.complete, self.found.stopped = False, "time"
                if self._interrupted:
                    self.found.complete, self.found.stopped = False, "interrupt"
                if self.may_raise is not None and self._raised() - self.may_raise:
                    self.found.complete, self.found.stopped = False, "flag"
                if not self.found.complete:
                    return
                if self._file is not None and self._file.due():
                    self._file.write(self.store, at, self._groups)
            self.store.close_gaps()
            at.low, at.high = at.high, self.control[x.END]
            self.control[x.CURSOR] = at.low
            self.store.leave_behind(at.low)
            at.depth += at.low < at.high
            self.found.depth = at.depth

    def _finished(self, results: list[int]) -> bool:
        """Whether the level is; makes room first if a worker asked for it, and notes it when there is none."""
        if x.OUTCOMES_FULL in results or x.CHOICES_FULL in results:
            self.found.complete = False
            self.found.stopped = "outcomes" if x.OUTCOMES_FULL in results else "choices"
        elif x.ROOM in results:
            if not self.store.make_room():
                self.found.complete, self.found.stopped = False, "memory"
        elif self.store.used() > self.memory_bytes:
            self.found.complete, self.found.stopped = False, "memory"
        else:
            return self._level_over()
        return False

    def _raised(self) -> set[str]:
        tables = [w.flags for w in self.store.workers]
        return {name for number, name in enumerate(self.codegen.flags) for raised in tables if raised[2 * number]}

    def _level_over(self) -> bool:
        idle = not self.store.pending and all(map(self.store.idle, self.store.workers))
        return idle and self.control[x.CURSOR] >= self.control[x.LEVEL_END]

    def _work_once(self, queue: int) -> list[int]:
        control, workers = self.control.address, self.workers
        pool = self.store.pool
        if self.store.pending:
            self.store.hand_out()
        self.control[x.ROUND_OVER] = 0
        budget, started = self._budget(), time.monotonic()
        if pool is None or (queue < PARALLEL_LEVEL and all(map(self.store.idle, self.store.workers[1:]))):
            results = [self._work(control, workers[0].address, budget)]
        else:
            futures = [pool.submit(self._work, control, w.address, budget) for w in workers]
            results = [f.result() for f in futures]
        shortest, longest = ROUND_S
        if time.monotonic() - started > longest:
            self._chunks = max(self._chunks // 2, 1)
        elif x.YIELDED in results and budget == self._chunks and time.monotonic() - started < shortest:
            self._chunks *= 2
        return results

    def _budget(self) -> int:
        """Chunks to expand before memory is looked at again: near the limit only few."""
        free = max(self.memory_bytes - self.store.used(), 0)
        return min(self._chunks, 1 + free // (x.CHUNK * FREE_FOR_RECORD * self.threads))

    def _progress(self, depth: int, started: float) -> Progress:
        states = sum(w[x.INSERTED] for w in self.workers)
        queue = max(self.control[x.END] - self.control[x.CURSOR], 0)
        transitions = sum(w[x.TRANSITIONS] for w in self.workers)
        memory = max(self.store.used(), resident_bytes() if self.whole_process else 0)  # what the limit is for
        return Progress(states, transitions, queue, depth, memory, time.monotonic() - started)

    # ----------------------------------------------------------------------------------------- results

    def _collect(self) -> None:
        found = self.found
        if self.coverage:
            begun = {(at.file, at.line) for at in self.machine.begun}
            executed = self.codegen.covered_lines() | begun
            found.set_up = self._setup_lines() - executed
            found.covered = executed | found.set_up
            found.returned = self.codegen.returned_lines() | begun
        found.states = sum(w[x.INSERTED] for w in self.workers)
        found.transitions = sum(w[x.TRANSITIONS] for w in self.workers)
        found.memory_bytes = self.store.used()
        outcomes: dict[tuple[int, ...], int] = {}
        flags: dict[int, tuple[int, int]] = {}
        width = self.outcome_words + 1
        for worker in self.store.workers:
            for bit, name in enumerate(self.codegen.situations):
                if worker.scratch[bit // 64] >> bit % 64 & 1:
                    found.reached.add(name)
            for first, *results in worker.outcomes.rows(x.OUTCOMES_MAX, width):
                outcome = tuple(results)
                outcomes[outcome] = min(first, outcomes.get(outcome, first))
            for number in range(len(self.codegen.flags)):
                if worker.flags[2 * number]:
                    entry = (worker.flags[2 * number], worker.flags[2 * number + 1])
                    flags[number] = min(entry, flags.get(number, entry))
        for outcome, record in sorted(outcomes.items(), key=lambda item: item[1]):
            found.outcomes[outcome] = self.machine.real_choices(self._choices(record - 1))
        for number, (record, choice) in sorted(flags.items()):
            last = [((choice & 0xFF) - 1, choice >> 8)] if choice & 0xFF else []
            found.flags[self.codegen.flags[number]] = self.machine.real_choices(self._choices(record - 1) + last)
        found.reached |= self.machine.reached

    def _choices(self, record: int) -> list[Choice]:
        choices: list[Choice] = []
        while True:
            meta = self.store.meta.word(record)
            parent = meta & ((1 << 40) - 1)
            if not parent:
                return choices[::-1]
            choices.append((meta >> 40 & 0xFF, meta >> 48))
            record = parent - 1


assert REACHED_WORDS == x.REACHED_WORDS <= SCRATCH_THREAD and SCRATCH_ROUNDS < SCRATCH_VALUES == x.SCRATCH_RESULTS
