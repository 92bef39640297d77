# SPDX-License-Identifier: GPL-2.0-only
"""Two-phase commit of Gray and Lamport, "Consensus on Transaction Commit": ptelab explore bench/two_phase_commit.py

Their specification has a set of messages that only grows, and besides it only what one process knows for itself.  So
each of its actions is one access to a message, and one step here.  An action that would change nothing is none here.

Distinct states without reductions: 288, 8,832, 1,745,408 and 10,340,352 for 3, 5, 8 and 9 managers.
"""

from enum import IntEnum

from ptelab.lang import (
    Array,
    array,
    at,
    choose,
    flag,
    ghost,
    nr,
    param,
    per_cpu,
    percpu,
    struct,
    this_cpu,
    this_thread,
    thread,
    thread_id,
    u4,
    wait_until,
)

nr_Manager = param("nr_Manager", 3)


class Decision(IntEnum):
    """What the coordinator says."""

    NONE = 0
    COMMIT = 1
    ABORT = 2


@struct
class Manager:
    """What a resource manager has sent."""

    prepared: bool


@struct
class Coordinator:
    """What the transaction manager has sent, to all of them."""

    decision: Decision


@percpu
class Own:
    """What one process alone uses, so that no access to it is a step; all processes run on one CPU."""

    committed: Array[bool] = array(nr_Manager)  # that manager has; one that has ended without that has aborted
    heard: Array[bool] = array(nr_Manager)  # the coordinator has heard that this manager is prepared
    count: u4  # from how many it has


@thread(copies=nr_Manager, cpu=0)
def manager() -> None:
    """A resource manager: may abort as long as it has not prepared; then it does as it is told."""
    first = choose(3)
    if first == 0:
        this_thread(Manager).prepared = True
        if choose(2) == 0:
            wait_until(at(Coordinator, 0).decision == Decision.COMMIT)
            this_cpu(Own).committed[thread_id()] = True
        else:
            wait_until(at(Coordinator, 0).decision == Decision.ABORT)
    elif first == 1:
        wait_until(at(Coordinator, 0).decision == Decision.ABORT)


@thread(cpu=0)
def coordinator() -> None:
    """The transaction manager: commits once all have prepared, and may abort at any time before."""
    while not decides():
        pass


def decides() -> bool:
    """Hear one manager, abort or, if all have been heard, commit; whether it has decided."""
    all_heard = this_cpu(Own).count == nr(Manager)
    what: u4 = choose(nr(Manager) + 1 + all_heard)
    if what < nr(Manager):
        wait_until(at(Manager, what).prepared and not this_cpu(Own).heard[what])
        this_cpu(Own).heard[what] = True
        this_cpu(Own).count += 1
        return False
    at(Coordinator, 0).decision = Decision.ABORT if what == nr(Manager) else Decision.COMMIT
    return True


@ghost
def final() -> bool:
    """All have done the same, and nobody has committed what was not decided."""
    committed = at(Coordinator, 0).decision == Decision.COMMIT
    for i in range(nr(Manager)):
        if per_cpu(Own, 0).committed[i] != committed:
            flag("inconsistent", manager=i)
    return committed
