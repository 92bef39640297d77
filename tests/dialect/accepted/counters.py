# SPDX-License-Identifier: GPL-2.0-only
"""The atomic counters; the forms that return give the new value, fetch gives the old."""

from __future__ import annotations

from ptelab.lang import (
    atomic_add, atomic_add_return, atomic_andnot, atomic_dec, atomic_dec_and_test, atomic_dec_return,
    atomic_fetch_andnot, atomic_fetch_or, atomic_inc, atomic_inc_return, atomic_or, atomic_sub, atomic_sub_return,
    struct, u4, u8,
)


@struct
class Page:
    count: u8
    flags: u4


def f(p: Page, n: u4) -> u8:
    atomic_inc(p.count)
    atomic_dec(p.count)
    atomic_add(n, p.count)
    atomic_sub(n, p.count)
    a = atomic_inc_return(p.count)
    b = atomic_dec_return(p.count)
    c = atomic_add_return(n, p.count)
    d = atomic_sub_return(2, p.count)
    atomic_or(3, p.flags)
    atomic_andnot(n, p.flags)
    e = atomic_fetch_or(1, p.flags)
    g = atomic_fetch_andnot(1, p.flags)
    if atomic_dec_and_test(p.count):
        return a + b
    atomic_dec_and_test(p.count)
    return c + d + e + g
