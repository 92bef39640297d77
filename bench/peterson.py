# SPDX-License-Identifier: GPL-2.0-only
"""Peterson's algorithm of 1981 for mutual exclusion of N processes: ptelab explore bench/peterson.py --set nr_Process=4

A process climbs N - 1 levels.  At each it waits until all others are below it or somebody has come after it; it looks
at the others one by one.  The steps are those of the model `peterson` of the BEEM collection: `choose(1)` makes a step
of what accesses no memory.  As there, variables that nobody will read again count.

Distinct states without reductions: 12,498 and 1,119,560 for 3 and 4 processes.
"""

from typing import Annotated, TypeAlias

from ptelab.lang import (
    Array,
    array,
    at,
    choose,
    flag,
    ghost,
    on_entry,
    on_return,
    param,
    struct,
    this_thread,
    thread,
    thread_id,
    u1,
    upto,
    wait_until,
)

nr_Process = param("nr_Process", 3)

Number: TypeAlias = Annotated[int, upto("nr_Process")]


@struct
class Process:
    """How far a process has come."""

    level: Number


@struct
class Levels:
    """Who has come to each level last."""

    last: Array[Number] = array(nr_Process)


@ghost
class Inside:
    """How many are in the critical section."""

    count: Number


@thread(copies=nr_Process)
def process() -> None:
    """Enter the critical section again and again."""
    j: Number = 0
    k: Number = 0
    while True:
        choose(1)
        j = 1
        while True:
            choose(1)
            if j == nr_Process:
                break
            this_thread(Process).level = j
            at(Levels, 0).last[j - 1] = thread_id()
            k = 0
            while True:
                looks: u1 = choose(1 + (k < nr_Process))
                if not looks:
                    break
                if k != thread_id():
                    wait_until_below(k, j)
                k += 1
            if k < nr_Process:
                wait_until_not_last(j)
            j += 1
        critical_section()


def wait_until_below(k: Number, j: Number) -> None:
    """Look at one other process."""
    wait_until(at(Process, k).level < j)


def wait_until_not_last(j: Number) -> None:
    """Let somebody who came later wait instead."""
    wait_until(at(Levels, 0).last[j - 1] != thread_id())


def critical_section() -> None:
    """What one process at a time may do; then back below all levels."""
    choose(1)
    this_thread(Process).level = 0


@on_entry(critical_section)
def never_two() -> None:
    """Nobody else is there."""
    at(Inside, 0).count += 1
    if at(Inside, 0).count > 1:
        flag("two_inside")


@on_return(critical_section)
def leaves() -> None:
    """It is free again."""
    at(Inside, 0).count -= 1
