# SPDX-License-Identifier: GPL-2.0-only
"""What threads do from a pair of contents, found out once and put into the memo.  Translated with `explorer.py`."""
# ruff: noqa: F821
# mypy: ignore-errors


def find_out(ctl, me, key, u, slot):
    """Take every transition of a unit's threads from a pair of contents, and remember them from this slot on."""
    if atomic_load(ctl, MEMO_COUNT) * 4 >= (3 << load(ctl, MEMO_BITS)):
        store(me, PROBLEM, ROOM)
        return 0
    unit = load(ctl, UNIT) + u * (8 * U_SIZE)
    shared = load(ctl, PART)
    part = load(unit, U_PART)
    source = load(me, SOURCE)
    first = source + load(part, P_FIRST) * 8
    words = load(shared, P_WORDS)
    own_words = load(part, P_WORDS)
    _copy(load(shared, P_BASE) + (key >> 32) * (8 * words), source, words)
    _copy(load(part, P_BASE) + (key & 0xFFFFFFFF) * (8 * own_words), first, own_words)
    found = load(me, LIST) + load(me, LIST_USED) * 8
    info = QUIET
    items = 0
    transitions = 0
    n = load(unit, U_FIRST)
    while n < load(unit, U_LAST):
        thread = load(ctl, THREAD) + n * (8 * T_SIZE)
        p = load(source, load(thread, T_WORD)) & load(ctl, POSITION_MASK)
        if p != load(thread, T_QUIET):
            info = info & ~QUIET
        if p != 0:
            choose = (load(load(ctl, CHOOSES), p >> 6) >> (p & 63)) & 1
            speculation = 0
            if choose != 0:
                if p == load(thread, T_QUIET):
                    speculation = 1
            alternative = 0
            going = 1
            while going != 0:
                if load(me, LIST_USED) + 2 * items + 2 > load(me, LIST_ROOM):
                    store(me, PROBLEM, ROOM)
                    return 0
                item = found + items * 16
                status = find_transition(ctl, me, key, part, load(thread, T_NUMBER), alternative, item)
                if status == 0xFF:
                    return 0
                if status == STATUS_NO_ALTERNATIVE:
                    going = 0
                else:
                    if status != 0:
                        transitions = transitions + 1
                        if status == STATUS_OK:
                            if speculation == 0:
                                info = info | PROGRESS
                            if (load(item, 0) | (load(item, 1) & 0xFFFF)) != 0:
                                items = items + 1
                        else:
                            info = info | (PROGRESS | FLAGGED)
                            items = items + 1
                    alternative = alternative + 1
                    if choose == 0:
                        going = 0
        n = n + 1
    if transitions > 0xFFFF:
        store(me, PROBLEM, CHOICES_FULL)
        return 0
    return remember(ctl, me, key, (items << 32) | (transitions << 16) | info | (u + 1), slot)


def remember(ctl, me, key, info, slot):
    """Put what was found last on the worker's list into the memo, unless another worker has been faster; its slot."""
    found = load(me, LIST) + load(me, LIST_USED) * 8
    items = info >> 32
    last = load(ctl, MEMO) + (32 << load(ctl, MEMO_BITS))
    while 1:
        known = atomic_load(slot, 1)
        if known == 0:
            if atomic_swap_if(slot, 1, 0, BUSY) != 0:
                store(slot, 0, key)
                if items == 1:
                    store(slot, 2, load(found, 0))
                    store(slot, 3, load(found, 1))
                else:
                    store(slot, 2, found)
                    store(me, LIST_USED, load(me, LIST_USED) + 2 * items)
                atomic_store(slot, 1, info)
                atomic_add(ctl, MEMO_COUNT, 1)
                return slot
        else:
            if known != BUSY:
                if load(slot, 0) == key:
                    if known & 255 == info & 255:
                        return slot
                slot = slot + 32
                if slot == last:
                    slot = load(ctl, MEMO)
    return 0


def find_transition(ctl, me, key, part, t, alternative, item):
    """Take one transition from the state in SOURCE and write what it does to an item; 0xFF when memory is needed."""
    shared = load(ctl, PART)
    source = load(me, SOURCE)
    target = load(me, TARGET)
    words = load(shared, P_WORDS)
    first = load(part, P_FIRST) * 8
    if (alternative >> 16) != 0:
        store(me, PROBLEM, CHOICES_FULL)
        return 0xFF
    _copy(source, target, words)
    _copy(source + first, target + first, load(part, P_WORDS))
    store(me, EXECUTED, load(me, EXECUTED) + 1)
    status = call(load(ctl, TRANSITION), target, t, alternative, load(me, SCRATCH))
    code = 0
    high = 0
    what = (alternative << 48) | (t << 40)
    if status == STATUS_OK:
        after = intern(ctl, shared, target)
        new = intern(ctl, part, target + first)
        if after == 0 or new == 0:
            store(me, PROBLEM, ROOM)
            return 0xFF
        change = (key >> 32) ^ (after - 1)
        if load(shared, P_HIGH) != 0:
            high = change << load(shared, P_SHIFT)
        else:
            code = change << load(shared, P_SHIFT)
        change = (key & 0xFFFFFFFF) ^ (new - 1)
        if load(part, P_HIGH) != 0:
            high = high ^ (change << load(part, P_SHIFT))
        else:
            code = code ^ (change << load(part, P_SHIFT))
        store(item, 0, code)
        store(item, 1, what | high)
    else:
        if status >= STATUS_FLAG:
            store(item, 0, 0)
            store(item, 1, what | (status << 16))
    return status
