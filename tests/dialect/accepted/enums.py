# SPDX-License-Identifier: GPL-2.0-only
"""Values of an IntEnum are constants with a type."""

from __future__ import annotations

from enum import IntEnum

from ptelab.lang import new, struct


class State(IntEnum):
    IDLE = 0
    BUSY = 1
    DONE = 2


@struct
class Work:
    state: State


def f(w: Work) -> bool:
    old = w.state
    new = State.BUSY
    if old == State.IDLE:
        w.state = new
    new = old
    return new < State.DONE
