# SPDX-License-Identifier: GPL-2.0-only
"""Sorting the columns of like threads, so that one state stands for all: symmetry.py.  Translated with `explorer.py`.

The table has the number of groups, then for each: its size in words, how many members, words of a member's own state
and spots it has; a mask for each spot; and for each member its first word, then word << 6 | shift of each spot.
Of a lock a spot is whether this thread owns it: then the number that an owner writes is from bit 32 on.
"""
# ruff: noqa: F821
# mypy: ignore-errors

G_SIZE = 0
G_MEMBERS = 1
G_WORDS = 2
G_SPOTS = 3
G_MASKS = 4


def stands_for(ctl, me, code, high):
    """Change the code in SORTED and SORTED_HIGH to those of the state that stands for this one; 1 without memory."""
    state = load(me, TARGET)
    part = load(ctl, PART)
    last = part + load(ctl, PARTS) * (8 * P_SIZE)
    while part < last:
        words = load(part, P_WORDS)
        _copy(load(part, P_BASE) + _field(part, code, high) * (8 * words), state + load(part, P_FIRST) * 8, words)
        part = part + 8 * P_SIZE
    changed = 0
    group = load(ctl, SYMMETRY) + 8
    count = load(load(ctl, SYMMETRY), 0)
    while count != 0:
        changed = changed + sort_group(group, state, load(me, COLUMNS))
        group = group + load(group, G_SIZE) * 8
        count = count - 1
    if changed == 0:
        return 0
    part = load(ctl, PART)
    while part < last:
        words = load(part, P_WORDS)
        own = state + load(part, P_FIRST) * 8
        old = _field(part, code, high)
        if _same(own, load(part, P_BASE) + old * (8 * words), words) == 0:
            new = intern(ctl, part, own)
            if new == 0:
                store(me, PROBLEM, ROOM)
                return 1
            change = (old ^ (new - 1)) << load(part, P_SHIFT)
            if load(part, P_HIGH) != 0:
                store(me, SORTED_HIGH, load(me, SORTED_HIGH) ^ change)
            else:
                store(me, SORTED, load(me, SORTED) ^ change)
        part = part + 8 * P_SIZE
    return 0


def sort_group(group, state, columns):
    """Sort the columns of a group by insertion; 1 when that changed the state.  `columns` has room for them and one."""
    members = load(group, G_MEMBERS)
    words = load(group, G_WORDS)
    spots = load(group, G_SPOTS)
    masks = group + 8 * G_MASKS
    row = masks + 8 * spots
    width = words + spots
    size = 8 * width
    changed = 0
    n = 0
    while n < members:
        column = columns + n * size
        _copy(state + load(row, 0) * 8, column, words)
        k = 0
        while k < spots:
            where = load(row, 1 + k)
            seen = (load(state, (where & 0xFFFFFFFF) >> 6) >> (where & 63)) & load(masks, k)
            if where >> 32 != 0:
                seen = seen == where >> 32
            store(column, words + k, seen)
            k = k + 1
        changed = changed + put_in_order(columns, column, size, width)
        row = row + 8 + 8 * spots
        n = n + 1
    if changed == 0:
        return 0
    row = masks + 8 * spots
    n = 0
    while n < members:
        column = columns + n * size
        _copy(column, state + load(row, 0) * 8, words)
        k = 0
        while k < spots:
            where = load(row, 1 + k)
            value = load(column, words + k)
            if where >> 32 != 0:
                value = value * (where >> 32)
            if where >> 32 == 0 or value != 0:
                shift = where & 63
                at = (where & 0xFFFFFFFF) >> 6
                kept = load(state, at) & ~(load(masks, k) << shift)
                store(state, at, kept | (value << shift))
            k = k + 1
        row = row + 8 + 8 * spots
        n = n + 1
    return 1


def put_in_order(columns, column, size, width):
    """Move the last column before those that are greater; 1 when there are any."""
    at = column
    while at != columns:
        if _less(column, at - size, width) == 0:
            break
        at = at - size
    if at == column:
        return 0
    spare = column + size
    _copy(column, spare, width)
    to = column
    while to != at:
        _copy(to - size, to, width)
        to = to - size
    _copy(spare, at, width)
    return 1


def _less(a, b, width):
    k = 0
    less = 0
    while k < width:
        if load(a, k) != load(b, k):
            if load(a, k) < load(b, k):
                less = 1
            k = width
        k = k + 1
    return less
