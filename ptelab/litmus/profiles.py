# SPDX-License-Identifier: GPL-2.0-only
"""Profiles: an architecture with the features of its hardware and the configuration of its kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

CPUS_MAX = 4
"""How many CPUs a scenario may have: an interconnect has an actor for each pair."""


@dataclass(frozen=True, slots=True)
class Actor:
    """What the hardware of each CPU does beside its program; `issuer` is the CPU whose requests it serves."""

    name: str
    root: str  # module:function
    issuer: int | None = None


def _interconnect(name: str) -> tuple[Actor, ...]:
    return tuple(Actor(f"{name}{i}_", f"cpu:interconnect_{i}", i) for i in range(CPUS_MAX))


_WALKER = Actor("walker", "cpu:speculation")
_X86_ACTORS = (_WALKER, Actor("irq", "smp:interrupt"))
_ARM64_ACTORS = (_WALKER, *_interconnect("dvm"))
_S390_ACTORS = (_WALKER, *_interconnect("ipte"))


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: what the hardware does on each CPU, and what its parameters are."""

    name: str
    summary: str
    actors: tuple[Actor, ...]
    params: Mapping[str, int] = field(default_factory=dict)
    cpus_max: int | None = None

    @property
    def base(self) -> str:
        """The architecture alone."""
        return base(self.name)


def _hafdbs(first: int, others: int) -> dict[str, int]:
    return {"HAFDBS": first, "HAFDBS_OTHERS": others}


PROFILES = {
    p.name: p
    for p in (
        Profile("x86_64", "SMP", _X86_ACTORS),
        Profile("x86_64+tce", "INVLPG spares what the walker has cached for other addresses", _X86_ACTORS, {"TCE": 1}),
        Profile("x86_64+up", "a kernel for one CPU", _X86_ACTORS, {"CONFIG_SMP": 0}, cpus_max=1),
        Profile("arm64", "access and dirty flags are software's", _ARM64_ACTORS, _hafdbs(0, 0)),
        Profile("arm64+haf", "the hardware sets the access flag", _ARM64_ACTORS, _hafdbs(1, 1)),
        Profile(
            "arm64+hafdbs",
            "the hardware sets the access flag and the dirty state",
            _ARM64_ACTORS,
            _hafdbs(2, 2),
        ),
        Profile("arm64+mixed", "CPU 0 sets both, the others set neither", _ARM64_ACTORS, _hafdbs(2, 0)),
        Profile("s390", "access and dirty are software's, IPTE clears and flushes", _S390_ACTORS),
        Profile("s390+rdp", "a protected entry can let stores through without IPTE", _S390_ACTORS, {"RDP": 1}),
    )
}
"""Every profile by its name."""

DEFAULT = ("x86_64", "arm64", "s390")
"""What a test is about that does not say."""


def base(name: str) -> str:
    """The architecture of a profile's name: what stands before the `+`."""
    return name.partition("+")[0]


def covers(words: Iterable[str], profile: str) -> bool:
    """Whether a list of profiles means this one: it is named, or its architecture is.

    `arm64` is all profiles of arm64, and `arm64+` is the one without features.
    """
    return any(word in (profile, base(profile), f"{profile}+") for word in words)


def is_word(word: str) -> bool:
    """Whether a word can stand in a list of profiles."""
    return word in PROFILES or (word.endswith("+") and base(word) in PROFILES)
