# SPDX-License-Identifier: GPL-2.0-only
"""The search's tables: the seen set, the numbering of contents, the memo.  Translated with `explorer.py`, which see.

Whoever makes a table larger (`store.py`) does so while no worker is at work, and has everything put into a new one.
"""
# ruff: noqa: F821
# mypy: ignore-errors


def _mix(code):
    """A bijection of words; its first bits depend on all bits of the code."""
    code = (code ^ (code >> 32)) * MIX_A
    return (code ^ (code >> 32)) * MIX_B


def _unmix(code):
    code = code * UNMIX_B
    code = (code ^ (code >> 32)) * UNMIX_A
    return code ^ (code >> 32)


def _memo_slot(ctl, key, unit):
    h = (key ^ (unit * SPREAD)) * MIX_A
    h = (h ^ (h >> 32)) * MIX_B
    return load(ctl, MEMO) + (h >> (64 - load(ctl, MEMO_BITS))) * 32


def _copy(source, target, words):
    k = 0
    while k < words:
        store(target, k, load(source, k))
        k = k + 1


def _hash(words, count):
    h = SPREAD
    k = 0
    while k < count:
        h = (h ^ load(words, k)) * MIX_A
        h = h ^ (h >> 32)
        k = k + 1
    h = h * MIX_B
    return h ^ (h >> 29)


def _same(a, b, words):
    difference = 0
    k = 0
    while k < words:
        difference = difference | (load(a, k) ^ load(b, k))
        k = k + 1
    return difference == 0


def _look_up(part, words, h):
    """The number of a content + 1, or 0 when it is new."""
    index = load(part, P_INDEX)
    mask = load(part, P_INDEX_MASK)
    count = load(part, P_WORDS)
    at = h & mask
    while 1:
        entry = atomic_load(index, at)
        if entry == 0:
            return 0
        if (entry ^ h) >> 32 == 0:
            number = entry & 0xFFFFFFFF
            if _same(words, load(part, P_BASE) + (number - 1) * (8 * count), count) != 0:
                return number
        at = (at + 1) & mask
    return 0


def intern(ctl, part, words):
    """The number of a content + 1; 0 when there is no room for a new one."""
    h = _hash(words, load(part, P_WORDS))
    number = _look_up(part, words, h)
    if number != 0:
        return number
    while atomic_swap_if(ctl, LOCK, 0, 1) == 0:
        pass
    number = _look_up(part, words, h)
    count = load(part, P_COUNT)
    if number == 0:
        if count < load(part, P_LIMIT) and count * 5 < load(part, P_INDEX_MASK) * 3:
            _copy(words, load(part, P_BASE) + count * (8 * load(part, P_WORDS)), load(part, P_WORDS))
            number = count + 1
            store(part, P_COUNT, number)
            _index(part, h, number)
    atomic_store(ctl, LOCK, 0)
    return number


def _index(part, h, number):
    index = load(part, P_INDEX)
    mask = load(part, P_INDEX_MASK)
    at = h & mask
    while load(index, at) != 0:
        at = (at + 1) & mask
    atomic_store(index, at, ((h >> 32) << 32) | number)


def reindex(part):
    """Fill a new, empty index with all contents of a part."""
    words = load(part, P_WORDS)
    n = 0
    while n < load(part, P_COUNT):
        _index(part, _hash(load(part, P_BASE) + n * (8 * words), words), n + 1)
        n = n + 1
    return 0


def move_memo(ctl, old, slots):
    """Put what an old memo remembers into the new, empty one."""
    last = load(ctl, MEMO) + (32 << load(ctl, MEMO_BITS))
    n = 0
    while n < slots:
        was = old + n * 32
        if load(was, 1) != 0:
            slot = _memo_slot(ctl, load(was, 0), (load(was, 1) & 255) - 1)
            while load(slot, 1) != 0:
                slot = slot + 32
                if slot == last:
                    slot = load(ctl, MEMO)
            _copy(was, slot, 4)
        n = n + 1
    return 0


def drain(ctl, me):
    """Add every state in the pipe to the seen set; ROOM when there is none near some state's bucket.

    States whose bucket is full stay in the pipe and are looked at again when all others are added, a bucket further,
    which has been fetched by then.
    """
    if load(ctl, PRINT_BITS) != 0:
        return drain_prints(ctl, me)
    pipe = load(me, PIPE)
    head = load(me, PIPE_HEAD)
    tail = load(me, PIPE_TAIL)
    tries = 0
    while head < tail and tries < FAR:
        at = pipe + head * 24
        end = pipe + tail * 24
        kept = at
        while at < end:
            if _insert(ctl, me, load(at, 0), load(at, 1), load(at, 2), tries) != 0:
                _copy(at, kept, 3)
                kept = kept + 24
            at = at + 24
        tail = (kept - pipe) // 24
        tries = tries + 1
    if head < tail:
        store(me, PIPE_TAIL, tail)
        return ROOM
    store(me, PIPE_HEAD, 0)
    store(me, PIPE_TAIL, 0)
    return 0


def _insert(ctl, me, mixed, high, meta, tries):
    """Add a state unless it is in the bucket that comes after so many full ones; 1 when that is full too."""
    bits = load(ctl, BUCKET_BITS)
    table = load(ctl, TABLE)
    shift = 64 - bits
    mask = (1 << bits) - 1
    bucket = (mixed >> shift) + ((tries * (tries + 1)) >> 1)
    entry = ((tries + 1) << 59) | (high << shift) | (mixed & ((1 << shift) - 1))
    line = table + (bucket & mask) * 64
    while 1:
        found = match8(line, entry, 0)
        if found & 255 != 0:
            return 0
        empty = found >> 8
        if empty == 0:
            prefetch(table + ((bucket + tries + 1) & mask) * 64, 0)
            return 1
        if atomic_swap_if(line, first_bit(empty), 0, entry) != 0:
            _record(ctl, me, _unmix(mixed) ^ (high * SPREAD), high, meta)
            return 0
    return 1


def _record(ctl, me, code, high, meta):
    record = load(me, OUT)
    if record == load(me, OUT_END):
        record = atomic_add(ctl, END, OUT_CHUNK)
        store(me, OUT_END, record + OUT_CHUNK)
    store(me, OUT, record + 1)
    store(load(ctl, META), record, meta)
    store(load(ctl, QUEUE), record, code)
    if load(ctl, HIGH_BITS) != 0:
        store16(load(ctl, HIGHS), record, high)
    store(me, INSERTED, load(me, INSERTED) + 1)


def first(ctl, me, code, high):
    """Add the initial state."""
    store(me, PIPE_TAIL, 1)
    store(load(me, PIPE), 0, _mix(code ^ (high * SPREAD)))
    store(load(me, PIPE), 1, high)
    store(load(me, PIPE), 2, 0)
    return work(ctl, me, 0)


def migrate(ctl, me, old, low, end, bits, repack):
    """Put the entries of slots low … end − 1 of an old table into the new one; 1 when it has no room for one."""
    shift = 64 - bits
    mask = (1 << bits) - 1
    while low < end:
        entry = load(old, low)
        if entry != 0:
            tries = (entry >> 59) - 1
            bucket = ((low >> 3) - ((tries * (tries + 1)) >> 1)) & mask
            mixed = (bucket << shift) | (entry & ((1 << shift) - 1))
            high = (entry & 0x07FFFFFFFFFFFFFF) >> shift
            if repack != 0:
                _repack(ctl, me, _unmix(mixed) ^ (high * SPREAD), high)
                high = load(me, REPACKED_HIGH)
                mixed = _mix(load(me, REPACKED) ^ (high * SPREAD))
            if _place(ctl, mixed, high) != 0:
                return 1
        low = low + 1
    return 0


def _place(ctl, mixed, high):
    bits = load(ctl, BUCKET_BITS)
    shift = 64 - bits
    bucket = mixed >> shift
    entry = (1 << 59) | (high << shift) | (mixed & ((1 << shift) - 1))
    tries = 0
    while tries < FAR:
        line = load(ctl, TABLE) + (bucket & ((1 << bits) - 1)) * 64
        empty = match8(line, entry, 0) >> 8
        while empty != 0:
            if atomic_swap_if(line, first_bit(empty), 0, entry) != 0:
                return 0
            empty = match8(line, entry, 0) >> 8
        entry = entry + (1 << 59)
        tries = tries + 1
        bucket = bucket + tries
    return 1


def _repack(ctl, me, code, high):
    """Give the numbers in a code the places that they have in the new layout."""
    new = 0
    new_high = 0
    n = 0
    while n < load(ctl, PARTS):
        part = load(ctl, PART) + n * (8 * P_SIZE)
        number = code
        if load(part, P_OLD_HIGH) != 0:
            number = high
        number = (number >> load(part, P_OLD_SHIFT)) & load(part, P_OLD_MASK)
        if load(part, P_HIGH) != 0:
            new_high = new_high | (number << load(part, P_SHIFT))
        else:
            new = new | (number << load(part, P_SHIFT))
        n = n + 1
    store(me, REPACKED, new)
    store(me, REPACKED_HIGH, new_high)


def repack_queue(ctl, me, low, end):
    """Repack the codes of records low … end − 1."""
    while low < end:
        _repack(ctl, me, load(load(ctl, QUEUE), low), load16(load(ctl, HIGHS), low))
        store(load(ctl, QUEUE), low, load(me, REPACKED))
        store16(load(ctl, HIGHS), low, load(me, REPACKED_HIGH))
        low = low + 1
    return 0


def repack_pipe(ctl, me):
    """Repack the codes in a worker's pipe."""
    n = load(me, PIPE_HEAD)
    while n < load(me, PIPE_TAIL):
        at = load(me, PIPE) + n * 24
        _repack(ctl, me, _unmix(load(at, 0)) ^ (load(at, 1) * SPREAD), load(at, 1))
        store(at, 0, _mix(load(me, REPACKED) ^ (load(me, REPACKED_HIGH) * SPREAD)))
        store(at, 1, load(me, REPACKED_HIGH))
        n = n + 1
    return 0
