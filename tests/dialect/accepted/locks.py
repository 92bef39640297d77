# SPDX-License-Identifier: GPL-2.0-only
"""Every lock operation and assertion."""

from __future__ import annotations

from ptelab.lang import (
    Array, array, down_read, down_read_trylock, down_write, down_write_trylock, downgrade_write,
    lockdep_assert_held, lockdep_assert_held_read, lockdep_assert_held_write, rw_semaphore, spin_lock, spin_trylock,
    spin_unlock, spinlock_t, struct, u1, up_read, up_write,
)


@struct
class Mm:
    ptl: spinlock_t
    sem: rw_semaphore
    locks: Array[spinlock_t] = array(2)


def f(mm: Mm, i: u1) -> bool:
    spin_lock(mm.ptl)
    lockdep_assert_held(mm.ptl)
    spin_unlock(mm.ptl)
    spin_lock(mm.locks[i])
    spin_unlock(mm.locks[i])
    down_read(mm.sem)
    lockdep_assert_held_read(mm.sem)
    up_read(mm.sem)
    down_write(mm.sem)
    lockdep_assert_held_write(mm.sem)
    downgrade_write(mm.sem)
    lockdep_assert_held(mm.sem)
    up_read(mm.sem)
    if not down_read_trylock(mm.sem):
        return False
    up_read(mm.sem)
    got = down_write_trylock(mm.sem)
    if got:
        up_write(mm.sem)
    spin_trylock(mm.ptl)
    return spin_trylock(mm.ptl)
