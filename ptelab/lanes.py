# SPDX-License-Identifier: GPL-2.0-only
"""A trace as text for a mail: 72 columns, a lane for each thread, steps without effect on others folded.

    step number, `*` if the ending depends on it | function of the kernel or the hardware
                                                 | what it changed or read, the locks that the thread holds

What a CPU's hardware does on its own (the walker, a taken interrupt) is in the lane of the thread on that CPU,
behind `~`.
"""

from __future__ import annotations

import textwrap

from ptelab.machine import Event
from ptelab.trace import LETTERS, Step, Trace, format_value, name_place, set_bits

COLUMNS = 72
_NUMBER = 5
CALLERS = 4
"""Callers of a step that are named, besides what the column called."""

_MEMBERS = {
    "tlb": "the CPU's TLB",
    "psc": "the CPU's cache of upper entries",
    "csd": "what a CPU is asked to flush",
    "pending": "invalidations that are not done yet",
}


def render(trace: Trace, everything: bool = False, meaning: str = "") -> str:
    """The text of a trace; `everything` folds nothing, `meaning` is what must hold and does not."""
    threads = trace.machine.scenario.threads
    lanes = [n for n, t in enumerate(threads) if not t.daemon]
    lane_of = {
        n: next((m for m in lanes if threads[m].cpu == t.cpu), 0) if t.daemon else n for n, t in enumerate(threads)
    }
    width = (COLUMNS - _NUMBER) // max(len(lanes), 1)
    calls = _calls(trace)
    lines = [
        " " * _NUMBER + "".join(heading[n].ljust(width) for n in lanes).rstrip()
        for heading in ([t.name for t in threads], calls)
    ]
    held: dict[int, tuple[str, ...]] = {}
    within: dict[int, str] = {}
    folded = 0
    seen: list[Event] = []
    for step in trace.steps:
        if not (everything or step.matters or step.shown):
            folded += 1
            continue
        seen += step.events
        text = _describe(trace, step, width - 1)
        if step.held != held.get(step.thread, ()):
            held[step.thread] = step.held
            text += textwrap.wrap(f"[{', '.join(step.held)}]", width - 1, break_long_words=True)
        if within.get(step.thread) == text[0] and len(text) > 1:
            del text[0]
        else:
            within[step.thread] = text[0]
        indent = lanes.index(lane_of[step.thread]) * width
        for n, line in enumerate(text):
            number = f"{step.number:>3}{'*' if step.matters else ' '} " if n == 0 else " " * _NUMBER
            lines.append(f"{number}{' ' * indent}{line}".rstrip())
    if folded:
        lines.append(f"     ({folded} steps that add nothing are not shown; with --all they are)")
    lines += textwrap.wrap(_legend(trace, seen), COLUMNS, initial_indent="     ", subsequent_indent="     ")
    lines += _ending(trace, meaning)
    return "\n".join(lines)


def _calls(trace: Trace) -> list[str]:
    """What each thread's column calls, as far as it came."""
    calls: list[list[str]] = [[] for _ in trace.machine.scenario.threads]
    for step in trace.steps:
        for event in step.events:
            if event.kind == "choose" or event.kind == "return":
                continue
            outermost = event.stack[1] if len(event.stack) > 1 else ""
            if outermost and outermost not in calls[step.thread][-1:]:
                calls[step.thread].append(outermost)
    return [f"({', '.join(names)})" if names else "" for names in calls]


def _legend(trace: Trace, seen: list[Event]) -> str:
    """What the signs mean that the shown steps have."""
    told = [e for e in seen if e.place is not None and not _ghost_event(trace, e) and _effect(trace, e)]
    bits = set().union(*(set_bits(trace.machine, e) for e in told))
    members = {e.place[1] for e in told if e.place is not None}
    words = ["* the ending depends on this step", "~ the CPU's hardware or an interrupt", "[locks held]"]
    if letters := dict.fromkeys(f"{letter} {says}" for name, (letter, says) in LETTERS.items() if name in bits):
        words.append(", ".join(letters))
    return "; ".join([*words, *(f"{name}: {says}" for name, says in _MEMBERS.items() if name in members)])


def _ending(trace: Trace, meaning: str) -> list[str]:
    if trace.flag is not None:
        labels = ", ".join(f"{label} {value}" for label, value in trace.flag_labels)
        text = f"Flag {trace.flag.name}" + (f": {labels}" if labels else "")
        if trace.flag.at.file:
            text += f"  ({trace.flag.at.file}:{trace.flag.at.line})"
        lines = textwrap.wrap(text, COLUMNS, subsequent_indent="  ")
        if meaning:
            lines += textwrap.wrap(f"What must hold: {meaning}", COLUMNS, initial_indent="  ", subsequent_indent="  ")
        places = [line for s in trace.steps if s.matters for line in _place(trace, s)]
        return [*lines, "The steps that matter, and who called them:", *places] if places else lines
    if trace.outcome is not None:
        pairs = zip(trace.machine.scenario.observed, trace.outcome, strict=False)
        return textwrap.wrap("Outcome: " + "; ".join(f"{k}={v}" for k, v in pairs), COLUMNS, subsequent_indent="  ")
    return ["The run goes on from here."]


def _place(trace: Trace, step: Step) -> list[str]:
    """Where a step stands in the sources, and its callers, innermost first."""
    event = _access(trace, step)
    if event is None:
        return []
    *callers, function = (name.rpartition(".")[2] for name in event.stack[1:] or event.stack)
    named = callers[:0:-1][:CALLERS]
    if len(callers) > len(named):
        named += [*(["…"] if len(callers) > len(named) + 1 else []), callers[0]]
    thread = trace.machine.scenario.threads[step.thread].name
    first = f"{step.number:>3}  {thread} {function} ({event.at.file}:{event.at.line})"
    indent = " " * 7
    calls = " < ".join(["", *named]).strip()
    return [
        *textwrap.wrap(first, COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False),
        *textwrap.wrap(calls, COLUMNS, initial_indent=indent, subsequent_indent=indent),
    ]


def _access(trace: Trace, step: Step) -> Event | None:
    """The access to shared state that is the step."""
    for event in step.events:
        if event.place is None or event.kind in ("call", "return", "choose", "reach"):
            continue
        if not (_ghost_event(trace, event) or event.free or event.constant):
            return event
    return None


def _describe(trace: Trace, step: Step, width: int) -> list[str]:
    """The function in which the step's access lies, then one line for each effect."""
    daemon = trace.machine.scenario.threads[step.thread].daemon
    effects: list[str] = []
    access = _access(trace, step)
    function = access.stack[-1] if access is not None else ""
    for event in step.events:
        if event.place is None or event.kind in ("call", "return", "choose", "reach"):
            continue
        text = "" if _ghost_event(trace, event) else _effect(trace, event)
        if text and text not in effects:
            effects.append(text)
    if not function:
        function = step.events[0].stack[-1] if step.events else "(end)"
    mark = "~" if daemon else ""
    lines = textwrap.wrap(mark + function, width, break_long_words=True)
    for effect in effects:
        lines += textwrap.wrap(effect, width, initial_indent=" ", subsequent_indent="  ", break_long_words=True)
    return lines


def _ghost_event(trace: Trace, event: Event) -> bool:
    assert event.place is not None
    struct = trace.machine.layout.module.structs[event.place[0]]
    if struct.kind in ("ghost", "stack"):
        return True
    return trace.machine.program.codes[event.stack[-1]].function.ghost


def _effect(trace: Trace, event: Event) -> str:
    machine, place = trace.machine, event.place
    assert place is not None
    name = name_place(machine, place)
    if event.kind in ("read", "wait"):
        return "" if event.free or event.constant else f"{name} is {format_value(machine, place, event.old)}"
    if event.kind in ("lock", "unlock"):
        return ""
    old, new = (format_value(machine, place, v) for v in (event.old, event.new))
    if old == new:
        return "" if event.free else f"{name} is {old}"
    return f"{name} {old}→{new}"
