# SPDX-License-Identifier: GPL-2.0-only
"""The seen set when only fingerprints of states are kept (`--fingerprint`).  Translated with `explorer.py`.

A fingerprint is so many bits of a hash of the parts' numbers; it does not change when codes get another layout.  As
in the exact table the bucket is its first bits, and the entry has the others and how many full buckets were
passed by; entries are of 32 bits, sixteen to a line, as long as that leaves room for them.
"""
# ruff: noqa: F821
# mypy: ignore-errors

NEW = 0
KNOWN = 1
NO_ROOM = 2


def fingerprint(ctl, code, high):
    """The fingerprint of a state, in the first bits of a word."""
    part = load(ctl, PART)
    last = part + load(ctl, PARTS) * (8 * P_SIZE)
    h = SPREAD
    while part < last:
        h = (h ^ _field(part, code, high)) * MIX_A
        h = h ^ (h >> 32)
        part = part + 8 * P_SIZE
    shift = 64 - load(ctl, PRINT_BITS)
    return (_mix(h) >> shift) << shift


def drain_prints(ctl, me):
    """Add every state in the pipe whose fingerprint is not there; ROOM when there is none near some bucket."""
    head = load(me, PIPE_HEAD)
    tail = load(me, PIPE_TAIL)
    while head < tail:
        at = load(me, PIPE) + head * 24
        code = _unmix(load(at, 0)) ^ (load(at, 1) * SPREAD)
        found = put_print(ctl, fingerprint(ctl, code, load(at, 1)))
        if found == NO_ROOM:
            store(me, PIPE_HEAD, head)
            return ROOM
        if found == NEW:
            _record(ctl, me, code, load(at, 1), load(at, 2))
        head = head + 1
    store(me, PIPE_HEAD, 0)
    store(me, PIPE_TAIL, 0)
    return 0


def put_print(ctl, print):
    """Add a fingerprint: NEW, KNOWN or NO_ROOM."""
    bits = load(ctl, BUCKET_BITS)
    short = load(ctl, SHORT)
    mask = (1 << bits) - 1
    bucket = print >> (64 - bits)
    one = 1 << (59 - 32 * short)
    entry = one | ((print & ((1 << (64 - bits)) - 1)) >> (64 - load(ctl, PRINT_BITS)))
    tries = 0
    while tries < FAR:
        line = load(ctl, TABLE) + (bucket & mask) * 64
        going = 1
        while going != 0:
            found = _slots(line, entry, short)
            if found & 0xFFFF != 0:
                return KNOWN
            empty = found >> 16
            if empty == 0:
                going = 0
            else:
                if _take(line, first_bit(empty), entry, short) != 0:
                    return NEW
        entry = entry + one
        tries = tries + 1
        bucket = bucket + tries
    return NO_ROOM


def _slots(line, entry, short):
    """Which slots of a line hold the entry, and from bit 16 on which are empty."""
    if short != 0:
        return match16(line, entry, 0)
    found = match8(line, entry, 0)
    return (found & 255) | ((found >> 8) << 16)


def _take(line, slot, entry, short):
    if short != 0:
        return atomic_swap_if32(line, slot, 0, entry)
    return atomic_swap_if(line, slot, 0, entry)


def migrate_prints(ctl, old, low, high, bits, unused):
    """Put the entries of slots low … high − 1 of an old table into the new one; 1 when it has no room for one."""
    short = load(ctl, SHORT)
    mask = (1 << bits) - 1
    below = 59 - 32 * short
    left = 64 - load(ctl, PRINT_BITS)
    while low < high:
        if short != 0:
            entry = load32(old, low)
        else:
            entry = load(old, low)
        if entry != 0:
            tries = (entry >> below) - 1
            bucket = ((low >> (3 + short)) - ((tries * (tries + 1)) >> 1)) & mask
            print = (bucket << (64 - bits)) | ((entry & ((1 << below) - 1)) << left)
            if put_print(ctl, print) == NO_ROOM:
                return 1
        low = low + 1
    return 0
