# SPDX-License-Identifier: GPL-2.0-only
"""The kernels that can be booted: where Debian has them, how the model becomes them, their functions' names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Kernel:
    """`suites` of Debian that have it, and the patches that take the model back to it."""

    version: Version
    suites: tuple[str, ...]
    patches: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As it is written."""
        return f"{self.version[0]}.{self.version[1]}"


_BEFORE_7_0 = ("6.12-loaded-entries-clean",)
_BEFORE_6_2 = (*_BEFORE_7_0, "5df397dec7c4")
_BEFORE_6_0 = ("46bdb4277f98", "64fe24a3e05e", "5.10-mprotect-always-flushes")

KERNELS = {
    k.name: k
    for k in (
        Kernel((5, 10), ("bullseye-security", "bullseye"), (*_BEFORE_6_2, *_BEFORE_6_0)),
        Kernel((6, 1), ("bookworm-security", "bookworm"), _BEFORE_6_2),
        Kernel((6, 12), ("trixie-security", "trixie", "bookworm-backports"), _BEFORE_7_0),
        Kernel((7, 2), ("sid", "forky")),
    )
}


@dataclass(frozen=True, slots=True)
class Machine:
    """An architecture of Debian's, under QEMU: `cpus` are QEMU's models, the first by default, and their profiles."""

    name: str
    compiler: str  # the prefix of its tools
    qemu: str
    package: str  # of Debian's, that has QEMU
    arguments: tuple[str, ...]
    console: str
    cpus: Mapping[str, tuple[str, str]]  # name → (what QEMU is told, profile of the model)


MACHINES = {
    m.name: m
    for m in (
        # QEMU 7.2 has an error in cmpxchg16b that crashes some boots.
        Machine(
            "amd64", "x86_64-linux-gnu-", "qemu-system-x86_64", "qemu-system-x86", ("-machine", "q35"), "ttyS0",
            {"max": ("max,-cx16", "x86_64")},
        ),
        Machine(
            "arm64", "aarch64-linux-gnu-", "qemu-system-aarch64", "qemu-system-arm", ("-machine", "virt"), "ttyAMA0",
            {
                "max": ("max,pauth-impdef=on", "arm64+hafdbs"),
                "neoverse-n1": ("neoverse-n1", "arm64+hafdbs"),
                "cortex-a72": ("cortex-a72", "arm64"),
            },
        ),
        Machine(
            "s390x", "s390x-linux-gnu-", "qemu-system-s390x", "qemu-system-misc", ("-machine", "s390-ccw-virtio"),
            "ttysclp0", {"max": ("max", "s390")},
        ),
    )
}  # fmt: skip

_OLD_NAMES: dict[str, tuple[tuple[Version, str], ...]] = {
    "folio_mark_dirty": (((5, 16), "set_page_dirty"),),
    "folio_mark_accessed": (((5, 16), "mark_page_accessed"),),
    "folio_remove_rmap_ptes": (((6, 8), "page_remove_rmap"),),
    "folio_add_file_rmap_ptes": (((6, 8), "page_add_file_rmap"),),
    "folio_add_new_anon_rmap": (((6, 3), "page_add_new_anon_rmap"),),
    "folio_mark_lazyfree": (((6, 2), "mark_page_lazyfree"),),
    "set_pte_range": (((5, 12), "alloc_set_pte"), ((6, 6), "do_set_pte")),
}
"""What a function of the model was called before some version, the oldest name first."""

_SINCE: dict[str, Version] = {"tlb_flush_rmaps": (6, 2)}


_INLINED = {
    "flush_tlb_mm_range": ("arm64", "s390x"),
    "tlb_flush_rmaps": ("s390x",),
    "ptep_clear_flush": ("s390x",),
}
"""Functions of generic or x86 code that other machines have inlined or do without."""

_STATIC = ("do_page_mkwrite", "fault_dirty_shared_page", "finish_mkwrite_fault")
"""Functions that a compiler inlines or does not."""


def is_inlined(function: str, machine: str) -> bool:
    """Whether a machine's kernels may have no function of this name that could be traced."""
    return function in _STATIC or machine in _INLINED.get(function, ())


def known(version: Version) -> Kernel | None:
    """The newest kernel of the table that is not newer than a version; None when it is older than all."""
    older = [k for k in KERNELS.values() if k.version <= version]
    return max(older, key=lambda k: k.version) if older else None


def names(function: str) -> list[str]:
    """All that a function of the model has been called."""
    return [*(name for _, name in _OLD_NAMES.get(function, ())), function]


def name_of(function: str, version: Version) -> str | None:
    """What a kernel calls a function of the model; None if it has none of the kind."""
    if version < _SINCE.get(function, version):
        return None
    for before, name in _OLD_NAMES.get(function, ()):
        if version < before:
            return name
    return function
