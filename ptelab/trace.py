# SPDX-License-Identifier: GPL-2.0-only
"""A run, replayed on the reference machine: what each transition did, and which of them matter for the ending."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ptelab import ir
from ptelab.exploration import Choice, format_choices
from ptelab.machine import Event, Flagged, Machine, State

Cell = tuple[str, str, int, int]


class ReplayError(ValueError):
    """The choices do not describe a run of this scenario."""


@dataclass(slots=True)
class Step:
    """One transition.  `matters`: the ending depends on it directly; `shown`: threads affect each other here."""

    number: int  # from 1
    thread: int
    alternative: int
    events: list[Event]
    held: tuple[str, ...] = ()  # locks that the thread holds afterwards
    matters: bool = False
    shown: bool = False


@dataclass(slots=True)
class Trace:
    """A replayed run."""

    machine: Machine
    choices: list[Choice]
    steps: list[Step]
    flag: Flagged | None = None
    outcome: tuple[int, ...] | None = None
    ending: list[Event] = field(default_factory=list)  # what the check of the last state read

    @property
    def flag_labels(self) -> list[tuple[str, str]]:
        """The labelled values of the flag, by the names that the test uses."""
        if self.flag is None:
            return []
        labels = [(label, name_value(self.machine, label, type_, value)) for label, type_, value in self.flag.args_]
        return [*labels, *([("why", self.flag.why)] if self.flag.why else [])]


def record(machine: Machine, choices: Sequence[Choice]) -> Trace:
    """Replay choices.  ReplayError names the first one that cannot be taken."""
    trace = Trace(machine, list(choices), [])
    try:
        state = machine.initial()
    except Flagged as flagged:
        trace.flag = flagged
        return trace
    held: dict[int, list[str]] = {}
    for number, (thread, alternative) in enumerate(choices, 1):
        step = Step(number, thread, alternative, [])
        trace.steps.append(step)
        following: State | None
        if trace.flag is not None or thread >= len(state[1]) or alternative >= machine.alternatives(state, thread):
            raise ReplayError(f"choice {number} ({format_choices([(thread, alternative)])}) cannot be taken here")
        try:
            following = machine.step(state, thread, alternative, step.events)
        except Flagged as flagged:
            trace.flag = flagged
            following = state
        if following is None:
            raise ReplayError(f"choice {number} ({format_choices([(thread, alternative)])}) is blocked here")
        state = following
        _follow_locks(machine, step, held.setdefault(thread, []))
        step.held = tuple(held[thread])
    if trace.flag is None and machine.is_quiescent(state):
        try:
            trace.outcome = machine.final(state, trace.ending)
        except Flagged as flagged:
            trace.flag = flagged
    elif trace.flag is None and not _can_go_on(machine, state):
        trace.flag = Flagged("deadlock", ir.At(), why="no thread can go on")
    _mark(trace)
    return trace


def _can_go_on(machine: Machine, state: State) -> bool:
    for thread in range(len(state[1])):
        if machine.is_speculation(state, thread):
            continue
        for alternative in range(machine.alternatives(state, thread)):
            try:
                if machine.step(state, thread, alternative) is not None:
                    return True
            except Flagged:
                return True
    return False


def _follow_locks(machine: Machine, step: Step, held: list[str]) -> None:
    for event in step.events:
        if event.kind not in ("lock", "unlock") or event.place is None or event.old == event.new:
            continue
        struct, member, element, _ = event.place
        name = member
        if machine.layout.pool(struct) > 1:
            name += f"({machine.scenario.symbols.get(struct, {}).get(element, str(element))})"
        for mode in ("", " r"):
            if name + mode in held:
                held.remove(name + mode)
        if event.kind == "lock":
            held.append(name + (" r" if "read" in event.text or event.text == "downgrade_write" else ""))


def _mark(trace: Trace) -> None:
    """Find the steps that the ending depends on, and those by which threads affect each other on the way there.

    A flag names what it is about, a page say.  What matters: the last change of everything that the violated check
    read, and of every translation, as far as it concerns that page.  Shown besides, up to the last step that matters:
    reads of what another thread wrote before or changed afterwards, with the steps that did, and changes within a CPU.
    """
    subject = next((value for label, value in trace.flag_labels if label == "page"), "")
    writer: dict[Cell, Step] = {}
    readers: dict[Cell, list[Step]] = {}
    last: dict[Cell, Step] = {}
    for step in trace.steps:
        for event in step.events:
            place = event.place
            if place is None or event.kind in ("choose", "lock", "unlock"):
                continue
            concerned = not subject or _concerns(trace.machine, event, subject)
            changed = event.kind in ("write", "atomic") and event.old != event.new
            if changed and concerned:
                last[place] = step
            if not concerned or _ghost(trace.machine, place):
                continue
            source = writer.get(place)
            if source is not None and source.thread != step.thread:
                step.shown = source.shown = True
            if event.kind == "read":
                readers.setdefault(place, []).append(step)
            if changed:
                for reader in readers.pop(place, ()):
                    if reader.thread != step.thread:
                        reader.shown = step.shown = True
                writer[place] = step
                step.shown = step.shown or trace.machine.layout.module.structs[place[0]].kind == "cpu"
    if trace.flag is None:
        return
    judged = trace.ending or (trace.steps[-1].events if trace.steps else [])
    read = {event.place for event in judged if event.place is not None}
    for place, step in last.items():
        step.matters = step.matters or place in read or _is_translation(trace.machine, place)
    if not trace.ending and trace.steps:
        trace.steps[-1].matters = True
    end = max((s.number for s in trace.steps if s.matters), default=len(trace.steps))
    for step in trace.steps:
        step.shown = step.shown and step.number <= end


def _concerns(machine: Machine, event: Event, subject: str) -> bool:
    """Whether an access is to something of that name, or to a record that names it before or after."""
    assert event.place is not None
    struct, _, element, _ = event.place
    if machine.scenario.symbols.get(struct, {}).get(element) == subject:
        return True
    values = (format_value(machine, event.place, v) for v in (event.old, event.new) if v)
    return any(subject in re.split("[:,=]", value) for value in values)


def _is_translation(machine: Machine, place: Cell) -> bool:
    field_ = next(f for f in machine.layout.module.structs[place[0]].fields if f.name == place[1])
    return any(name == "pfn" for name, _ in field_.parts)


def _ghost(machine: Machine, place: Cell) -> bool:
    struct = machine.layout.module.structs[place[0]]
    return struct.kind == "ghost" or any(f.name == place[1] and f.ghost for f in struct.fields)


# ------------------------------------------------------------------------------------------------ names


def name_element(machine: Machine, struct: str, element: int) -> str:
    """What the test calls an element, or its number; empty when there is only one nameless one."""
    named = machine.scenario.symbols.get(struct, {}).get(element)
    if named is not None:
        return named
    return str(element)


def name_place(machine: Machine, place: Cell) -> str:
    """`member(element)`, with `[index]` for an entry of an array."""
    struct, member, element, index = place
    column = machine.memory.columns.get((struct, member))
    if struct in machine.stack_memory:
        return f"{struct}.{member}"
    kind = machine.layout.module.structs[struct].kind
    entry = ""
    if column is not None and column.field.count is not None:
        entry = machine.scenario.symbols.get("addr", {}).get(index, str(index)) if kind == "cpu" else str(index)
    owner = f"cpu{element}" if kind == "cpu" else name_element(machine, struct, element)
    return f"{member}({owner}{',' if entry else ''}{entry})"


def name_value(machine: Machine, label: str, type_: ir.Type | None, value: int) -> str:
    """A labelled value as the test would write it."""
    if type_ is not None and type_.kind == "ptr":
        return "none" if value == 0 else name_element(machine, type_.struct, value - 1)
    if label == "page":
        named = machine.scenario.symbols.get("Folio", {}).get(value)
        return named if named is not None else str(value)
    if label == "addr":
        return machine.scenario.symbols.get("addr", {}).get(value, str(value))
    return str(value)


def format_value(machine: Machine, place: Cell, values: Sequence[int]) -> str:
    """A member's value: a number, a name, or the set bits and numbers of a record."""
    struct, member, _, _ = place
    parts = next(f for f in machine.layout.module.structs[struct].fields if f.name == member).parts
    if len(parts) == 1:
        type_ = parts[0][1]
        return name_value(machine, member, type_, values[0])
    if not any(values):
        return "none"
    shown = _shown_parts(parts, values)
    bits = list(dict.fromkeys(n for n, t, v in shown if t.kind == "bool" and v))
    numbers = [(n, t, v) for n, t, v in shown if t.kind != "bool" and (v or t.kind != "ptr")]
    if len(numbers) > 1:  # then a number alone says nothing
        rest = ",".join(f"{n}={_name_number(machine, n, t, v)}" for n, t, v in numbers if v)
    else:
        rest = "".join(_name_number(machine, n, t, v) for n, t, v in numbers)
    letters = "".join(LETTERS[n][0] for n in bits if n in LETTERS)
    return ":".join(filter(None, [rest, letters, *(n for n in bits if n not in LETTERS)]))


# A record may hold another, as an upper entry does that maps a page: told if there is something in it, and then
# instead of members of the same name.
def _shown_parts(parts: Sequence[tuple[str, ir.Type]], values: Sequence[int]) -> list[tuple[str, ir.Type, int]]:
    split_names = [name.rpartition(".") for name, _ in parts]
    filled = {owner for (owner, _, _), value in zip(split_names, values, strict=True) if owner and value}
    inner = {name for owner, _, name in split_names if owner in filled}
    return [
        (name, type_, value)
        for (owner, _, name), (_, type_), value in zip(split_names, parts, values, strict=True)
        if (owner in filled if owner else name not in inner)
    ]


def set_bits(machine: Machine, event: Event) -> set[str]:
    """The names of the bits that an event's values show by their letters."""
    assert event.place is not None
    struct, member, _, _ = event.place
    parts = next(f for f in machine.layout.module.structs[struct].fields if f.name == member).parts
    if len(parts) == 1:
        return set()
    shown = [part for values in (event.old, event.new) if values for part in _shown_parts(parts, values)]
    return {name for name, type_, value in shown if type_.kind == "bool" and value and name in LETTERS}


LETTERS = {
    "present": ("P", "present"),
    "valid": ("V", "valid"),
    "rw": ("W", "writable"),
    "accessed": ("A", "accessed"),
    "dirty": ("D", "dirty"),
    "soft_dirty": ("S", "soft-dirty"),
    "uffd_wp": ("U", "uffd-wp"),
    "leaf": ("H", "huge"),
    "large": ("H", "huge"),
    "rdonly": ("R", "read-only"),
    "protect": ("R", "read-only"),
    "af": ("A", "accessed"),
    "young": ("Y", "young"),
    "dbm": ("M", "DBM: dirty unless read-only"),
    "sw_dirty": ("D", "dirty in software"),
    "read": ("r", "may be read"),
    "write": ("w", "may be written"),
}
"""The letters of the bits of entries, whatever the architecture calls them, and what they say."""


def _name_number(machine: Machine, name: str, type_: ir.Type, value: int) -> str:
    if type_.kind == "ptr":
        return name_element(machine, type_.struct, value - 1)
    if name == "pfn" and isinstance(type_.bound, str) and type_.bound.startswith("nr_"):
        return name_element(machine, type_.bound.removeprefix("nr_"), value)
    return str(value)


# ------------------------------------------------------------------------------------------------- JSON


def to_json(trace: Trace) -> dict[str, Any]:
    """The trace as plain data: threads, steps with their events, the ending."""
    machine = trace.machine

    def event_data(event: Event) -> dict[str, Any]:
        data: dict[str, Any] = {"kind": event.kind, "file": event.at.file, "line": event.at.line}
        data["function"] = event.stack[-1] if event.stack else ""
        if event.place is not None:
            data["place"] = name_place(machine, event.place)
            data["old"] = format_value(machine, event.place, event.old) if event.old else None
            data["new"] = format_value(machine, event.place, event.new) if event.new else None
        if event.text:
            data["text"] = event.text
        return data

    return {
        "test": machine.scenario.name,
        "threads": [{"name": t.name, "cpu": t.cpu, "daemon": t.daemon} for t in machine.scenario.threads],
        "choices": format_choices(trace.choices),
        "flag": None if trace.flag is None else {"name": trace.flag.name, **dict(trace.flag_labels)},
        "outcome": None if trace.outcome is None else dict(zip(machine.scenario.observed, trace.outcome, strict=False)),
        "steps": [
            {
                "number": s.number,
                "thread": s.thread,
                "alternative": s.alternative,
                "stack": list(s.events[0].stack) if s.events else [],
                "held": list(s.held),
                "matters": s.matters,
                "shown": s.shown,
                "events": [event_data(e) for e in s.events],
            }
            for s in trace.steps
        ],
    }
