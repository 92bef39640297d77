# SPDX-License-Identifier: GPL-2.0-only
"""The search: breadth first, exact, any number of workers.  Translated by `lowlevel.py`; CPython never runs it.

A record is one state with, in its first word, how it was first reached: valid bit 63, alternative << 48,
thread << 40, number of the parent's record + 1.  The seen set is a table of words, tag << 40 | record + 1, that
workers fill by compare-and-swap: a record is written whole before the table names it, and never changes after.
Constants in capitals come from `engine.py`: STATE_WORDS, THREADS, OUTCOMES and what the model needs.
"""
# ruff: noqa: F821
# mypy: ignore-errors

# Words of the control block, which all workers share.
END = 0
CURSOR = 1
LEVEL_END = 2
STOP = 3
ARENA = 4
CAPACITY = 5
TABLE = 6
TABLE_MASK = 7
GROW_AT = 8
AMPLE_TABLE = 9

# Words of a worker's own block.
SPARE = 0
TRANSITIONS = 1
SCRATCH = 2
WORK = 3
OUTCOME_TABLE = 4
FLAG_TABLE = 5
INSERTED = 6

# What `work` returns.
LEVEL_DONE = 0
YIELDED = 1
GROW = 2
FULL = 3
OUTCOMES_FULL = 4

CHUNK = 32
VALID = 0x8000000000000000
RECORD_MASK = 0xFFFFFFFFFF


def work(ctl, me, budget):
    """Expand states of the current level until it is done, the budget of chunks is spent, or memory is needed."""
    while budget > 0:
        budget = budget - 1
        if atomic_load(ctl, STOP) != 0:
            return YIELDED
        if atomic_load(ctl, END) >= load(ctl, GROW_AT):
            return GROW
        i = atomic_add(ctl, CURSOR, CHUNK)
        end = load(ctl, LEVEL_END)
        if i >= end:
            return LEVEL_DONE
        high = i + CHUNK
        if high > end:
            high = end
        while i < high:
            problem = expand(ctl, me, i)
            if problem != 0:
                return problem
            i = i + 1
    return YIELDED


def expand(ctl, me, i):
    """Take every transition of record i."""
    record = load(ctl, ARENA) + i * (8 * STATE_WORDS + 8)
    if load(record, 0) == 0:
        return 0
    source = record + 8
    quiet = 1
    t = 0
    while t < THREADS:
        if position(source, t) != quiet_position(t):
            quiet = 0
        t = t + 1
    if quiet != 0:
        return finish(me, i, source)
    target = load(me, WORK)
    scratch = load(me, SCRATCH)
    if AMPLE != 0:
        t = 0
        while t < THREADS:
            if is_ample(ctl, source, t) != 0:
                copy(source, target)
                status = transition(target, t, 0, scratch)
                if status == STATUS_OK:
                    store(me, TRANSITIONS, load(me, TRANSITIONS) + 1)
                    return insert(ctl, me, target, VALID | (t << 40) | (i + 1))
            t = t + 1
    progress = 0
    transitions = 0
    t = 0
    while t < THREADS:
        p = position(source, t)
        if p != 0:
            choose = is_choose(p)
            speculation = 0
            if choose != 0:
                if p == quiet_position(t):
                    speculation = 1
            alternative = 0
            going = 1
            while going != 0:
                copy(source, target)
                status = transition(target, t, alternative, scratch)
                if status == STATUS_NO_ALTERNATIVE:
                    going = 0
                else:
                    if status != STATUS_BLOCKED:
                        transitions = transitions + 1
                        if speculation == 0:
                            progress = 1
                        if status == STATUS_OK:
                            meta = VALID | (alternative << 48) | (t << 40) | (i + 1)
                            problem = insert(ctl, me, target, meta)
                            if problem != 0:
                                return problem
                        else:
                            if speculation != 0:
                                progress = 1
                            note_flag(me, status, i, t + 1, alternative)
                    alternative = alternative + 1
                    if choose == 0:
                        going = 0
        t = t + 1
    store(me, TRANSITIONS, load(me, TRANSITIONS) + transitions)
    if progress == 0:
        note_flag(me, STATUS_DEADLOCK, i, 0, 0)
    return 0


def is_ample(ctl, source, t):
    """Whether nothing that the other threads may do depends on thread t's transition (see ample.py).

    The table has, for each thread and position, eligibility and the masks of the next transition, then the masks of
    the future for each mode of a lock that t may hold, MASK_WORDS words for reads and as many for writes each.
    """
    table = load(ctl, AMPLE_TABLE)
    row = table + (row_of(t) + position(source, t)) * (8 * ROW_WORDS)
    if load(row, 0) == 0:
        return 0
    held = held_modes(source, t)
    u = 0
    while u < THREADS:
        if u != t:
            other = table + (row_of(u) + position(source, u)) * (8 * ROW_WORDS)
            k = 0
            while k < MASK_WORDS:
                at = 1 + 2 * MASK_WORDS + k
                may_read = load(other, at)
                may_write = load(other, at + MASK_WORDS)
                modes = held
                while modes != 0:
                    at = at + 2 * MASK_WORDS
                    if modes & 1 != 0:
                        may_read = may_read & load(other, at)
                        may_write = may_write & load(other, at + MASK_WORDS)
                    modes = modes >> 1
                conflict = load(row, 1 + MASK_WORDS + k) & (may_read | may_write)
                if (conflict | (load(row, 1 + k) & may_write)) != 0:
                    return 0
                k = k + 1
        u = u + 1
    return 1


def copy(source, target):
    """Copy a state."""
    k = 0
    while k < STATE_WORDS:
        store(target, k, load(source, k))
        k = k + 1


def hash_state(state):
    """A 64-bit mix of all words of a state."""
    h = 0x9E3779B97F4A7C15
    k = 0
    while k < STATE_WORDS:
        h = (h ^ load(state, k)) * 0xBF58476D1CE4E5B9
        h = h ^ (h >> 32)
        k = k + 1
    h = h * 0x94D049BB133111EB
    return h ^ (h >> 29)


def same(a, b):
    """Whether two states are equal."""
    difference = 0
    k = 0
    while k < STATE_WORDS:
        difference = difference | (load(a, k) ^ load(b, k))
        k = k + 1
    return difference == 0


def insert(ctl, me, state, meta):
    """Add a state to the seen set unless it is there; FULL when there is no room for a record."""
    h = hash_state(state)
    tag = h >> 40
    table = load(ctl, TABLE)
    mask = load(ctl, TABLE_MASK)
    arena = load(ctl, ARENA)
    at = h & mask
    while 1:
        entry = atomic_load(table, at)
        if entry == 0:
            spare = load(me, SPARE)
            if spare == 0:
                spare = atomic_add(ctl, END, 1) + 1
                if spare > load(ctl, CAPACITY):
                    return FULL
                store(me, SPARE, spare)
            record = arena + (spare - 1) * (8 * STATE_WORDS + 8)
            store(record, 0, meta)
            copy(state, record + 8)
            if atomic_swap_if(table, at, 0, (tag << 40) | spare) != 0:
                store(me, SPARE, 0)
                store(me, INSERTED, load(me, INSERTED) + 1)
                return 0
            entry = atomic_load(table, at)
        if entry >> 40 == tag:
            if same(state, arena + ((entry & RECORD_MASK) - 1) * (8 * STATE_WORDS + 8) + 8) != 0:
                return 0
        at = (at + 1) & mask
    return 0


def rehash(ctl, low, high):
    """Name records low … high − 1 in the (new, empty or part-filled) table."""
    table = load(ctl, TABLE)
    mask = load(ctl, TABLE_MASK)
    arena = load(ctl, ARENA)
    while low < high:
        record = arena + low * (8 * STATE_WORDS + 8)
        if load(record, 0) != 0:
            h = hash_state(record + 8)
            at = h & mask
            entry = ((h >> 40) << 40) | (low + 1)
            going = 1
            while going != 0:
                if load(table, at) == 0:
                    if atomic_swap_if(table, at, 0, entry) != 0:
                        going = 0
                else:
                    at = (at + 1) & mask
        low = low + 1
    return 0


def note_flag(me, status, i, thread, alternative):
    """Keep, per flag, the earliest record from which it was raised, and by which choice (thread 0: by none)."""
    flags = load(me, FLAG_TABLE)
    slot = (status - STATUS_FLAG) * 2
    known = load(flags, slot)
    if known == 0 or known > i + 1:
        store(flags, slot, i + 1)
        store(flags, slot + 1, (alternative << 8) | thread)
    return 0


def finish(me, i, source):
    """Judge a quiescent state and keep its outcome."""
    target = load(me, WORK)
    scratch = load(me, SCRATCH)
    copy(source, target)
    status = final(target, scratch)
    if status != STATUS_OK:
        note_flag(me, status, i, 0, 0)
        return 0
    outcomes = load(me, OUTCOME_TABLE)
    h = 0x9E3779B97F4A7C15
    k = 0
    while k < OUTCOMES:
        h = (h ^ load(scratch, SCRATCH_RESULTS + k)) * 0xBF58476D1CE4E5B9
        h = h ^ (h >> 32)
        k = k + 1
    tries = 0
    while tries < OUTCOMES_MAX:
        entry = outcomes + (h & (OUTCOMES_MAX - 1)) * (8 * OUTCOMES + 8)
        known = load(entry, 0)
        if known == 0:
            store(entry, 0, i + 1)
            k = 0
            while k < OUTCOMES:
                store(entry, k + 1, load(scratch, SCRATCH_RESULTS + k))
                k = k + 1
            return 0
        difference = 0
        k = 0
        while k < OUTCOMES:
            difference = difference | (load(entry, k + 1) ^ load(scratch, SCRATCH_RESULTS + k))
            k = k + 1
        if difference == 0:
            if i + 1 < known:
                store(entry, 0, i + 1)
            return 0
        h = h + 1
        tries = tries + 1
    return OUTCOMES_FULL
