# SPDX-License-Identifier: GPL-2.0-only
"""Profiles: an architecture with the features of its hardware and the configuration of its kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ptelab.source import arch_directory, bundled_model

_X86_ACTORS = (("walker", "cpu:speculation"), ("irq", "smp:interrupt"))
_ARM64_ACTORS = (("walker", "cpu:speculation"), ("dvm", "cpu:interconnect"))
_S390_ACTORS = (("walker", "cpu:speculation"), ("purge", "cpu:interconnect"))


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: what the hardware does on each CPU, as (name, module:function), and what its parameters are."""

    name: str
    summary: str
    actors: tuple[tuple[str, str], ...]
    params: Mapping[str, int] = field(default_factory=dict)
    cpus_max: int | None = None

    @property
    def base(self) -> str:
        """The architecture alone."""
        return base(self.name)


PROFILES = {
    p.name: p
    for p in (
        Profile("x86_64", "SMP", _X86_ACTORS),
        Profile("x86_64+up", "a kernel for one CPU", _X86_ACTORS, {"CONFIG_SMP": 0}, cpus_max=1),
        Profile("arm64", "access and dirty flags are software's", _ARM64_ACTORS, {"HAFDBS": 0}),
        Profile("arm64+haf", "the hardware sets the access flag", _ARM64_ACTORS, {"HAFDBS": 1}),
        Profile("arm64+hafdbs", "the hardware sets the access flag and the dirty state", _ARM64_ACTORS, {"HAFDBS": 2}),
        Profile("s390", "access and dirty are software's, IPTE clears and flushes", _S390_ACTORS),
    )
}
"""Every profile by its name."""

DEFAULT = ("x86_64", "arm64", "s390")
"""What a test is about that does not say."""


def base(name: str) -> str:
    """The architecture of a profile's name: what stands before the `+`."""
    return name.partition("+")[0]


def modelled() -> tuple[str, ...]:
    """The profiles whose hardware the bundled model has."""
    hw = bundled_model() / "hw"
    return tuple(name for name in PROFILES if (hw / arch_directory(name) / "cpu.py").is_file())


def covers(words: Iterable[str], profile: str) -> bool:
    """Whether a list of profiles means this one: it is named, or its architecture is."""
    return any(word in (profile, base(profile)) for word in words)
