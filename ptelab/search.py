# SPDX-License-Identifier: GPL-2.0-only
"""Breadth-first search on the reference machine: slow, plain, and what the native engine is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable

from ptelab.exploration import Choice, Exploration
from ptelab.machine import Flagged, Machine, State

Parents = dict[State, tuple[State, Choice] | None]


def explore(
    machine: Machine,
    *,
    time_s: float | None = None,
    states_max: int | None = None,
    progress: Callable[[Exploration, int], None] | None = None,
) -> Exploration:
    """Explore every state of the machine's scenario, breadth first, so that each counterexample is a shortest one."""
    found = Exploration()
    started = time.monotonic()
    try:
        start = machine.initial()
    except Flagged as flagged:
        found.flags[flagged.name] = []
        return found
    if machine.symmetry is not None:
        start, _ = machine.symmetry.sort(start)
    parents: Parents = {start: None}
    level = [start]
    try:
        while level and found.complete:
            following: list[State] = []
            for state in level:
                _expand(machine, state, parents, following, found)
                if time_s is not None and time.monotonic() - started > time_s:
                    found.complete, found.stopped = False, "time"
                    break
                if states_max is not None and len(parents) > states_max:
                    found.complete, found.stopped = False, "memory"
                    break
            level = following
            found.depth += bool(following)
            if progress is not None:
                found.states = len(parents)
                progress(found, len(level))
    except KeyboardInterrupt:
        found.complete, found.stopped = False, "interrupt"
    found.states = len(parents)
    found.outcomes = {outcome: machine.real_choices(run) for outcome, run in found.outcomes.items()}
    found.flags = {flag: machine.real_choices(run) for flag, run in found.flags.items()}
    found.reached = set(machine.reached)
    found.seconds = time.monotonic() - started
    return found


def _expand(machine: Machine, state: State, parents: Parents, following: list[State], found: Exploration) -> None:
    if machine.is_quiescent(state):
        try:
            outcome = machine.final(state)
            if outcome not in found.outcomes:
                found.outcomes[outcome] = _choices(parents, state)
        except Flagged as flagged:
            if flagged.name not in found.flags:
                found.flags[flagged.name] = _choices(parents, state)
        return
    if machine.reduction.ample and _expand_ample(machine, state, parents, following, found):
        return
    progress, symmetry = False, machine.symmetry
    for thread in range(len(state[1])):
        for alternative in range(machine.alternatives(state, thread)):
            try:
                successor = machine.step(state, thread, alternative)
            except Flagged as flagged:
                found.transitions += 1
                progress = True
                if flagged.name not in found.flags:
                    found.flags[flagged.name] = [*_choices(parents, state), (thread, alternative)]
                continue
            if successor is None:
                continue
            if symmetry is not None:
                successor, _ = symmetry.sort(successor)
            found.transitions += 1
            progress = progress or not machine.is_speculation(state, thread)
            if successor not in parents:
                parents[successor] = (state, (thread, alternative))
                following.append(successor)
    if not progress and "deadlock" not in found.flags:
        found.flags["deadlock"] = _choices(parents, state)


def _expand_ample(machine: Machine, state: State, parents: Parents, following: list[State], found: Exploration) -> bool:
    """Take the first ample transition, if there is one."""
    for thread in range(len(state[1])):
        if not machine.is_ample(state, thread):
            continue
        try:
            successor = machine.step(state, thread)
        except Flagged:
            continue
        if successor is None:
            continue
        if machine.symmetry is not None:
            successor, _ = machine.symmetry.sort(successor)
        found.transitions += 1
        if successor not in parents:
            parents[successor] = (state, (thread, 0))
            following.append(successor)
        return True
    return False


def _choices(parents: Parents, state: State) -> list[Choice]:
    choices: list[Choice] = []
    step = parents[state]
    while step is not None:
        choices.append(step[1])
        step = parents[step[0]]
    return choices[::-1]
