# SPDX-License-Identifier: GPL-2.0-only
"""What an engine returns, and the text form of a run's choices."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

Choice = tuple[int, int]
"""(thread number, alternative): alternative 0 unless the thread stands at a `choose`."""

Outcome = tuple[int, ...]


@dataclass(slots=True)
class Exploration:
    """The result of exploring a scenario.  Both engines must agree on everything but seconds and memory."""

    states: int = 0  # distinct states, the initial one included
    transitions: int = 0  # from explored states, those that end in a flag included
    depth: int = 0  # choices on the longest of the shortest ways to a state
    complete: bool = True
    stopped: str = ""  # why it is incomplete: "memory", "time", "interrupt", "flag"
    outcomes: dict[Outcome, list[Choice]] = field(default_factory=dict)  # with a shortest run to each
    flags: dict[str, list[Choice]] = field(default_factory=dict)  # with a shortest run that raises it
    reached: set[str] = field(default_factory=set)
    covered: set[tuple[str, int]] = field(default_factory=set)  # (file, line) executed, if that was asked for
    set_up: set[tuple[str, int]] = field(default_factory=set)  # of those, what only the initial state needed
    returned: set[tuple[str, int]] = field(default_factory=set)  # likewise, of returns that are blocks of their own
    fingerprint_bits: int = 0  # of a state that was kept; 0: states themselves were
    seconds: float = 0.0
    memory_bytes: int = 0
    threads: int = 1
    symmetry: str = ""  # which threads are alike, or why none are
    resumed_states: int = 0  # of the states, those that a checkpoint knew
    checkpoint: str = ""  # of a stopped run: what can be said of the file from which to go on


def odds_of_a_missed_state(found: Exploration) -> str:
    """How probable it is that two states had one fingerprint, as `1 in 3,000`, for fingerprints like random numbers."""
    pairs = found.states * (found.states - 1) / 2
    missed = -math.expm1(-pairs / 2.0**found.fingerprint_bits)
    return f"1 in {1 / missed:,.0f}" if 0 < missed < 0.5 else f"{missed:.0%}"


def format_choices(choices: Sequence[Choice]) -> str:
    """Write choices as `0*12,1,3.2*2`: thread, `.alternative` unless 0, `*times` unless once."""
    words = []
    for (thread, alternative), group in groupby(choices):
        times = sum(1 for _ in group)
        words.append(f"{thread}{f'.{alternative}' if alternative else ''}{f'*{times}' if times > 1 else ''}")
    return ",".join(words)


CHOICES_MAX = 10_000_000


def parse_choices(text: str) -> list[Choice]:
    """Read what `format_choices` wrote; ValueError names the word that is wrong."""
    choices: list[Choice] = []
    for word in filter(None, (w.strip() for w in text.split(","))):
        match = re.fullmatch(r"(\d+)(?:\.(\d+))?(?:\*(\d+))?", word)
        if match is None:
            raise ValueError(f"{word!r} is no choice; write THREAD, THREAD.ALTERNATIVE or THREAD*TIMES")
        times = int(match[3] or 1)
        if times > CHOICES_MAX:
            raise ValueError(f"{word!r} is more than any run; write THREAD*TIMES with TIMES up to {CHOICES_MAX}")
        choices += [(int(match[1]), int(match[2] or 0))] * times
    return choices
