# SPDX-License-Identifier: GPL-2.0-only
"""The anonymous pages of the mm that the agent has, as a test begins.

What an entry is comes from how it was made.  A store makes one that is writable and dirty, and the page its owner's
alone.  A fork takes both from it, also when the child has ended.  Who then pins the page to read it, as
process_vm_readv does, gets a page of his own behind an entry that may not be stored to: the old page when nobody else
has it, else a copy, whose entry is clean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptelab.litmus.resolve import Bits, Test, Vma
from ptelab.live import huge
from ptelab.live.column import Unable
from ptelab.live.program import WORD, Program, Reg

if TYPE_CHECKING:
    from ptelab.live.scenario import Stage

_READ, _READ_WRITE = 1, 3
_ALL_CHILDREN = 0x40000000  # those of other threads, too

STORED, PARTED, KEPT, COPIED, CLEAN, MERGED = "stored", "parted", "kept", "copied", "clean", "merged"


def kind(test: Test, vma: Vma, bits: Bits) -> str:
    """How the entry of an anonymous page comes to be."""
    users = [test.vmas[name].mm for (name, _), b in test.ptes.items() if b.page == bits.page]
    if bits.ksm:
        return MERGED
    if len(users) > 1:
        if len(set(users)) < len(users):
            raise Unable("without KSM, a process has no page twice")
        return STORED
    if bits.write:
        return STORED if bits.dirty else CLEAN
    if not test.is_exclusive(bits):
        return PARTED
    if not vma.write and bits.dirty:
        return STORED
    if bits.huge and not bits.dirty:
        raise Unable("nothing makes a huge page clean and its owner's alone")
    return KEPT if bits.dirty else COPIED


class PrivatePages:
    """Writes the parts of the agent's program that make them."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.test = stage, stage.test
        self.places = [
            (stage.test.vmas[name], page, bits) for (name, page), bits in stage.test.ptes.items() if bits.page
        ]
        for vma, _, bits in self.places:
            if vma.mm != stage.main_mm and kind(self.test, vma, bits) not in (STORED, MERGED):
                raise Unable("a page that was shared is not made in another process")

    def store(self, p: Program, vma: Vma, page: int, bits: Bits) -> None:
        """Store a page's datum."""
        address = self.stage.address(vma.name, page) + self.stage.offset
        p.store(address, self.test.pages[bits.page].value)
        if bits.huge:
            huge.fill(p, self.stage, vma, page, bits)
        if self.stage.merging:
            p.store(address + WORD, self.stage.merging.salt)

    def by_fork(self, p: Program, run: Reg) -> None:
        """All entries that a fork leaves behind, as it takes also from others what it takes."""
        stage, test = self.stage, self.test
        made = {
            which: [
                (v, page) for v, page, bits in self.places if v.mm == stage.main_mm and kind(test, v, bits) == which
            ]
            for which in (PARTED, KEPT, COPIED, CLEAN)
        }
        if not any(made.values()):
            return
        for vma, page, bits in self.places:
            if (vma, page) in [place for places in made.values() for place in places]:
                self.store(p, vma, page, bits)
        child, ended, mine = stage.shared.program(), stage.shared.words(), p.reg()
        child.die_with_parent()
        child.load(mine, stage.run)
        child.op("AWAIT", ended, mine, 0)
        p.op("FORK", child.number)
        for vma, page in made[COPIED] + made[CLEAN]:
            self._pin(p, stage.address(vma.name, page))
        p.op("ARRIVE", ended)
        p.call("wait4", -1, 0, _ALL_CHILDREN, 0)
        for vma, page in made[KEPT]:
            self._pin(p, stage.address(vma.name, page))
        for vma, page in made[CLEAN]:
            for prot in (_READ, _READ_WRITE):
                p.call("mprotect", stage.address(vma.name, page), stage.page, prot)

    # Read a word by a pin, not by the entry.
    def _pin(self, p: Program, address: int) -> None:
        shared, own = self.stage.shared, p.reg()
        p.call("getpid", to=own)
        there = shared.words(2, shared.words(), WORD)
        p.call("process_vm_readv", own, there, 1, shared.words(2, address, WORD), 1, 0)
