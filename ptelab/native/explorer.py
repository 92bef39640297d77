# SPDX-License-Identifier: GPL-2.0-only
"""The search: breadth first, exact, any number of workers.  Translated by `lowlevel.py`; CPython never runs it.

A state is cut into *parts*: shared memory is part 0, and each group of threads has a part.  What each part was ever
seen to hold is kept once and numbered, so a state is a few small numbers, packed into 64 bits and at most 16 *high*
bits: its *code*.  A thread's transition sees shared memory and its own part only; so what it does is found once for
each pair of numbers, remembered (*memo*, which all workers share), and from then on is an exclusive-or of two codes.

The seen set is one table of words, eight to a bucket, that workers fill by compare-and-swap.  The code is mixed by a
bijection; the bucket's number holds its first bits and the entry the others (and how many full buckets were passed
by), so the table holds the codes themselves and finding a state takes one cache line.  Each new state is a *record*:
its number counts states in the order found, `META` tells how it was first reached (alternative << 48, thread << 40,
number of the parent's record + 1), `QUEUE` and `HIGHS` hold its code until it has been expanded.

Functions whose names begin with `_` are compiled into their callers.  What the tables need is in `tables.py`, what
symmetry needs in `columns.py`, lossy storage in `prints.py`, how the memo is filled in `finding.py`; they are
translated together with this file.
"""
# ruff: noqa: F821
# mypy: ignore-errors

# Words of the control block, which all workers share.  What they change is at the end, each word in a cache line of its
# own: the others are read for every state.
STOP = 0
MEMO = 1
MEMO_BITS = 2
LEVEL_END = 3
META = 4
QUEUE = 5
HIGHS = 6
TABLE = 7
BUCKET_BITS = 8
ROOM_AT = 9
HIGH_BITS = 10
UNITS = 11
UNIT = 12
PARTS = 13
PART = 14
TRANSITION = 16
FINAL = 17
HELD = 18
THREAD = 19
CHOOSES = 20
POSITION_MASK = 21
AMPLE = 22
AMPLE_TABLE = 23
MASK_WORDS = 24
ROW_WORDS = 25
STATE_WORDS = 26
OUTCOMES = 27
DEADLOCK = 28
SYMMETRY = 29
PRINT_BITS = 30
SHORT = 31
ROUND_OVER = 32
END = 40
CURSOR = 48
LOCK = 56
MEMO_COUNT = 64
CONTROL_WORDS = 72

# Words of a worker's own block.
TRANSITIONS = 0
INSERTED = 1
SCRATCH = 2
SOURCE = 3
TARGET = 4
OUTCOME_TABLE = 5
FLAG_TABLE = 6
LIST = 10
LIST_USED = 11
LIST_ROOM = 12
PIPE = 13
PIPE_HEAD = 14
PIPE_TAIL = 15
PIPE_ROOM = 16
PIPE_WANTED = 17
AT = 18
CHUNK_START = 19
CHUNK_END = 20
OUT = 21
OUT_END = 22
PAIRS = 23
POSITIONS = 24
EXECUTED = 25
PROBLEM = 26
REPACKED = 27
REPACKED_HIGH = 28
COLUMNS = 29
SORTED = 30
SORTED_HIGH = 31
TAKEN_END = 32
WORKER_WORDS = 40

# Words of a part.
P_WORDS = 0
P_FIRST = 1
P_BASE = 2
P_COUNT = 3
P_LIMIT = 4
P_INDEX = 5
P_INDEX_MASK = 6
P_SHIFT = 7
P_MASK = 8
P_HIGH = 9
P_OLD_SHIFT = 10
P_OLD_MASK = 11
P_OLD_HIGH = 12
P_SIZE = 16

# Words of a unit: some threads of one part, whose transitions are remembered together.
U_PART = 0
U_FIRST = 1
U_LAST = 2
U_ENDED = 3
U_SIZE = 4

# Words of a thread.
T_NUMBER = 0
T_WORD = 1
T_QUIET = 2
T_ROW = 3
T_SIZE = 4

# What `work` returns.
LEVEL_DONE = 0
YIELDED = 1
ROOM = 2
OUTCOMES_FULL = 3
CHOICES_FULL = 4
PIPE_FULL = 5

# Bits of the second word of what the memo remembers; below them the unit's number + 1, above, at bit 16, the number of
# transitions, and at bit 32 that of the items.  BUSY stands alone, while a worker writes the other words.
QUIET = 256
PROGRESS = 512
FLAGGED = 1024
BUSY = 2048

CHUNK = 32
# So many records at most a worker takes to expand, and so many places for new ones: processors fetch ahead, up to the
# end of a page, what had better not be another worker's.
TAKE = 4096
OUT_CHUNK = 512
OUTCOMES_MAX = 4096
PARENT_MASK = 0xFFFFFFFFFF
FAR = 31
STATUS_OK = 1
STATUS_NO_ALTERNATIVE = 2
STATUS_FLAG = 3
REACHED_WORDS = 4
SCRATCH_RESULTS = 9
MIX_A = 0xBF58476D1CE4E5B9
MIX_B = 0x94D049BB133111EB
UNMIX_A = 0x96DE1B173F119089
UNMIX_B = 0x319642B2D24D8EC3
SPREAD = 0x9E3779B97F4A7C15


def work(ctl, me, budget):
    """Expand states of the level until it is done, memory is needed, or some worker has spent its budget of chunks."""
    problem = _work(ctl, me, budget)
    if problem != LEVEL_DONE:
        atomic_store(ctl, ROUND_OVER, 1)
    if load(me, OUT) < load(me, OUT_END):
        if atomic_swap_if(ctl, END, load(me, OUT_END), load(me, OUT)) != 0:
            store(me, OUT_END, load(me, OUT))
    return problem


def _work(ctl, me, budget):
    problem = drain(ctl, me)
    if problem != 0:
        return problem
    look_ahead(ctl, me)
    while 1:
        while load(me, AT) < load(me, CHUNK_END):
            problem = expand_chunk(ctl, me)
            if problem != 0:
                return problem
            problem = drain(ctl, me)
            if problem != 0:
                return problem
        if budget == 0:
            return YIELDED
        budget = budget - 1
        if (atomic_load(ctl, STOP) | atomic_load(ctl, ROUND_OVER)) != 0:
            return YIELDED
        if atomic_load(ctl, END) >= load(ctl, ROOM_AT):
            return ROOM
        if load(me, CHUNK_END) == load(me, TAKEN_END):
            if take_records(ctl, me) == 0:
                return LEVEL_DONE
        start = load(me, CHUNK_END)
        end = start + CHUNK
        if end > load(me, TAKEN_END):
            end = load(me, TAKEN_END)
        store(me, AT, start)
        store(me, CHUNK_START, start)
        store(me, CHUNK_END, end)
        look_ahead(ctl, me)
    return YIELDED


def take_records(ctl, me):
    """Take records of the level that nobody has taken, few when few are left; 0 when none are."""
    end = load(ctl, LEVEL_END)
    count = CHUNK
    start = atomic_load(ctl, CURSOR)
    if start < end:
        count = ((end - start) >> 11) * CHUNK
        if count < CHUNK:
            count = CHUNK
        if count > TAKE:
            count = TAKE
    start = atomic_add(ctl, CURSOR, count)
    if start >= end:
        return 0
    if start + count < end:
        end = start + count
    store(me, AT, start)
    store(me, CHUNK_END, start)
    store(me, TAKEN_END, end)
    return 1


def _field(part, code, high):
    """The number of a part's content in a code."""
    if load(part, P_HIGH) != 0:
        code = high
    return (code >> load(part, P_SHIFT)) & load(part, P_MASK)


def look_ahead(ctl, me):
    """For each state of the chunk note which pairs of numbers it asks the memo for, and have the memory fetched."""
    units = load(ctl, UNITS)
    width = 8 + units * 24
    i = load(me, AT)
    pairs = load(me, PAIRS) + (i - load(me, CHUNK_START)) * width
    part = load(ctl, PART)
    with_high = load(ctl, HIGH_BITS)
    queue = load(ctl, QUEUE)
    end = load(me, CHUNK_END)
    while i < end:
        code = load(queue, i)
        high = 0
        if with_high != 0:
            high = load16(load(ctl, HIGHS), i)
        shared = _field(part, code, high) << 32
        pair = pairs + 8
        unit = load(ctl, UNIT)
        u = 0
        while u < units:
            own = _field(load(unit, U_PART), code, high)
            if (own | (load(unit, U_ENDED) ^ 1)) != 0:
                key = shared | own
                slot = _memo_slot(ctl, key, u)
                prefetch(slot, 0)
                store(pair, 0, key)
                store(pair, 1, slot)
                store(pair, 2, u)
                pair = pair + 24
            unit = unit + 8 * U_SIZE
            u = u + 1
        store(pairs, 0, pair)
        pairs = pairs + width
        i = i + 1
    return 0


def expand_chunk(ctl, me):
    """Expand states until the chunk is done or the pipe of successors is full."""
    width = 8 + load(ctl, UNITS) * 24
    pairs = load(me, PAIRS) + (load(me, AT) - load(me, CHUNK_START)) * width
    ample = load(ctl, AMPLE)
    while load(me, AT) < load(me, CHUNK_END):
        if ample != 0:
            problem = expand_ample(ctl, me, load(me, AT), pairs)
        else:
            problem = expand(ctl, me, load(me, AT), pairs + 8, load(pairs, 0))
        if problem != 0:
            if problem == PIPE_FULL:
                return 0
            return problem
        store(me, AT, load(me, AT) + 1)
        pairs = pairs + width
    return 0


def _recall(ctl, me, i, pair):
    """What the memo remembers about a pair of record i, found out first if need be.

    0, with the reason in PROBLEM, when memory is needed; or for no such reason where the run is over and nobody may do
    anything: then the state is judged.
    """
    key = load(pair, 0)
    slot = load(pair, 1)
    mark = load(pair, 2) + 1
    last = load(ctl, MEMO) + (32 << load(ctl, MEMO_BITS))
    while 1:
        known = atomic_load(slot, 1)
        if known == 0:
            if is_over(ctl, i) != 0:
                store(me, PROBLEM, finish(ctl, me, i))
                return 0
            return find_out(ctl, me, key, mark - 1, slot)
        if known != BUSY:
            if load(slot, 0) == key:
                if known & 255 == mark:
                    return slot
            slot = slot + 32
            if slot == last:
                slot = load(ctl, MEMO)
    return 0


def expand(ctl, me, i, pairs, end):
    """Put every successor of record i into the pipe."""
    items = 0
    transitions = 0
    quiet = QUIET
    some = 0
    pair = pairs
    while pair < end:
        slot = _recall(ctl, me, i, pair)
        if slot == 0:
            return load(me, PROBLEM)
        store(pair, 1, slot)
        info = load(slot, 1)
        items = items + (info >> 32)
        transitions = transitions + ((info >> 16) & 0xFFFF)
        quiet = quiet & info
        some = some | info
        pair = pair + 24
    if quiet != 0:
        return finish(ctl, me, i)
    tail = load(me, PIPE_TAIL)
    if tail + items > load(me, PIPE_ROOM):
        return _make_pipe_room(me, items)
    code = load(load(ctl, QUEUE), i)
    high = 0
    if load(ctl, HIGH_BITS) != 0:
        high = load16(load(ctl, HIGHS), i)
    pipe = load(me, PIPE) + tail * 24
    table = load(ctl, TABLE)
    shift = 64 - load(ctl, BUCKET_BITS)
    flagged = some & FLAGGED
    special = load(ctl, SYMMETRY) | load(ctl, PRINT_BITS)
    pair = pairs
    while pair < end:
        slot = load(pair, 1)
        n = load(slot, 1) >> 32
        item = slot + 16
        if n > 1:
            item = load(slot, 2)
        while n != 0:
            what = load(item, 1)
            n = n - 1
            push = 1
            if flagged != 0:
                if what & 0xFF0000 != 0:
                    note_flag(me, (what >> 16) & 0xFF, i, ((what >> 40) & 0xFF) + 1, what >> 48)
                    push = 0
            if push != 0:
                new_high = high ^ (what & 0xFFFF)
                new = code ^ load(item, 0)
                if special != 0:
                    if look_again(ctl, me, new, new_high) != 0:
                        return load(me, PROBLEM)
                    new = load(me, SORTED)
                    new_high = load(me, SORTED_HIGH)
                mixed = _mix(new ^ (new_high * SPREAD))
                prefetch(table + (mixed >> shift) * 64, 0)
                store(pipe, 0, mixed)
                store(pipe, 1, new_high)
                store(pipe, 2, ((what >> 40) << 40) | (i + 1))
                pipe = pipe + 24
                tail = tail + 1
            item = item + 16
        pair = pair + 24
    store(me, PIPE_TAIL, tail)
    store(me, TRANSITIONS, load(me, TRANSITIONS) + transitions)
    if some & PROGRESS == 0:
        note_flag(me, load(ctl, DEADLOCK), i, 0, 0)
    return 0


def look_again(ctl, me, code, high):
    """Put the code of the state that is kept in place of this one into SORTED and SORTED_HIGH; 1 without memory."""
    store(me, SORTED, code)
    store(me, SORTED_HIGH, high)
    if load(ctl, SYMMETRY) != 0:
        if stands_for(ctl, me, code, high) != 0:
            return 1
    if load(ctl, PRINT_BITS) != 0:
        bucket = fingerprint(ctl, load(me, SORTED), load(me, SORTED_HIGH)) >> (64 - load(ctl, BUCKET_BITS))
        prefetch(load(ctl, TABLE) + bucket * 64, 0)
    return 0


def _make_pipe_room(me, items):
    if load(me, PIPE_TAIL) != 0:
        return PIPE_FULL
    store(me, PIPE_WANTED, items)
    return ROOM


def expand_ample(ctl, me, i, pairs):
    """Put one successor of record i into the pipe if that is enough, else every one.  A unit is one thread here."""
    code = load(load(ctl, QUEUE), i)
    high = 0
    if load(ctl, HIGH_BITS) != 0:
        high = load16(load(ctl, HIGHS), i)
    positions = load(me, POSITIONS)
    units = load(ctl, UNITS)
    busy = 0
    u = 0
    while u < units:
        position = position_of(ctl, u, code, high)
        store(positions, u, position)
        if position != quiet_position(ctl, u):
            busy = 1
        u = u + 1
    if busy == 0:
        return finish(ctl, me, i)
    part = load(ctl, PART)
    shared = load(part, P_BASE) + _field(part, code, high) * (8 * load(part, P_WORDS))
    end = load(pairs, 0)
    pair = pairs + 8
    while pair < end:
        if is_ample(ctl, me, shared, load(pair, 2)) != 0:
            slot = _recall(ctl, me, i, pair)
            if slot == 0:
                return load(me, PROBLEM)
            if load(slot, 1) & (FLAGGED | 0xFFFF0000) == 0x10000:
                return expand(ctl, me, i, pair, pair + 24)
        pair = pair + 24
    return expand(ctl, me, i, pairs + 8, end)


def is_over(ctl, i):
    """Whether all programs of record i have ended and all daemons rest."""
    high = 0
    if load(ctl, HIGH_BITS) != 0:
        high = load16(load(ctl, HIGHS), i)
    code = load(load(ctl, QUEUE), i)
    u = 0
    while u < load(ctl, UNITS):
        unit = load(ctl, UNIT) + u * (8 * U_SIZE)
        part = load(unit, U_PART)
        content = load(part, P_BASE) + _field(part, code, high) * (8 * load(part, P_WORDS))
        n = load(unit, U_FIRST)
        while n < load(unit, U_LAST):
            thread = load(ctl, THREAD) + n * (8 * T_SIZE)
            position = load(content, load(thread, T_WORD) - load(part, P_FIRST)) & load(ctl, POSITION_MASK)
            if position != load(thread, T_QUIET):
                return 0
            n = n + 1
        u = u + 1
    return 1


def position_of(ctl, u, code, high):
    """Where a unit's only thread stands."""
    unit = load(ctl, UNIT) + u * (8 * U_SIZE)
    part = load(unit, U_PART)
    thread = load(ctl, THREAD) + load(unit, U_FIRST) * (8 * T_SIZE)
    content = load(part, P_BASE) + _field(part, code, high) * (8 * load(part, P_WORDS))
    return load(content, load(thread, T_WORD) - load(part, P_FIRST)) & load(ctl, POSITION_MASK)


def quiet_position(ctl, u):
    """Where it stands when the run is over."""
    unit = load(ctl, UNIT) + u * (8 * U_SIZE)
    return load(load(ctl, THREAD) + load(unit, U_FIRST) * (8 * T_SIZE), T_QUIET)


def is_ample(ctl, me, shared, t):
    """Whether nothing that the other threads may do depends on thread t's transition (see ample.py).

    The table has, for each thread and position, eligibility and the masks of the next transition, then the masks of
    the future for each mode of a lock that t may hold, MASK_WORDS words for reads and as many for writes each.
    """
    table = load(ctl, AMPLE_TABLE)
    width = 8 * load(ctl, ROW_WORDS)
    positions = load(me, POSITIONS)
    threads = load(ctl, THREAD)
    units = load(ctl, UNIT)
    own = threads + load(units + t * (8 * U_SIZE), U_FIRST) * (8 * T_SIZE)
    row = table + (load(own, T_ROW) + load(positions, t)) * width
    if load(row, 0) == 0:
        return 0
    mask_words = load(ctl, MASK_WORDS)
    held = call(load(ctl, HELD), shared, t)
    u = 0
    while u < load(ctl, UNITS):
        if u != t:
            thread = threads + load(units + u * (8 * U_SIZE), U_FIRST) * (8 * T_SIZE)
            other = table + (load(thread, T_ROW) + load(positions, u)) * width
            k = 0
            while k < mask_words:
                at = 1 + 2 * mask_words + k
                may_read = load(other, at)
                may_write = load(other, at + mask_words)
                modes = held
                while modes != 0:
                    at = at + 2 * mask_words
                    if modes & 1 != 0:
                        may_read = may_read & load(other, at)
                        may_write = may_write & load(other, at + mask_words)
                    modes = modes >> 1
                conflict = load(row, 1 + mask_words + k) & (may_read | may_write)
                if (conflict | (load(row, 1 + k) & may_write)) != 0:
                    return 0
                k = k + 1
        u = u + 1
    return 1


def note_flag(me, status, i, thread, alternative):
    """Keep, per flag, the earliest record from which it was raised, and by which choice (thread 0: by none)."""
    flags = load(me, FLAG_TABLE)
    slot = (status - STATUS_FLAG) * 2
    known = load(flags, slot)
    if known == 0 or known > i + 1:
        store(flags, slot, i + 1)
        store(flags, slot + 1, (alternative << 8) | thread)
    return 0


def finish(ctl, me, i):
    """Judge a quiescent state and keep its outcome."""
    target = load(me, TARGET)
    scratch = load(me, SCRATCH)
    high = 0
    if load(ctl, HIGH_BITS) != 0:
        high = load16(load(ctl, HIGHS), i)
    k = 0
    while k < load(ctl, STATE_WORDS):
        store(target, k, 0)
        k = k + 1
    part = load(ctl, PART)
    words = load(part, P_WORDS)
    _copy(load(part, P_BASE) + _field(part, load(load(ctl, QUEUE), i), high) * (8 * words), target, words)
    status = call(load(ctl, FINAL), target, scratch)
    if status != STATUS_OK:
        note_flag(me, status, i, 0, 0)
        return 0
    return keep_outcome(me, i, scratch + 8 * SCRATCH_RESULTS, load(ctl, OUTCOMES))


def keep_outcome(me, i, results, count):
    """Note that record i has these results, unless an earlier one has."""
    h = _hash(results, count)
    tries = 0
    while tries < OUTCOMES_MAX:
        entry = load(me, OUTCOME_TABLE) + (h & (OUTCOMES_MAX - 1)) * (8 * count + 8)
        known = load(entry, 0)
        if known == 0:
            store(entry, 0, i + 1)
            _copy(results, entry + 8, count)
            return 0
        if _same(results, entry + 8, count) != 0:
            if i + 1 < known:
                store(entry, 0, i + 1)
            return 0
        h = h + 1
        tries = tries + 1
    return OUTCOMES_FULL
