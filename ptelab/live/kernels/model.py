# SPDX-License-Identifier: GPL-2.0-only
"""The model's side of a scenario: one thread with the sizes of real machines, which switches between the processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ptelab import frontend, ir
from ptelab.litmus.profiles import PROFILES, base
from ptelab.live.counting import WithoutInvariants
from ptelab.live.kernels.observed import WHEN, Collector, Observed
from ptelab.live.kernels.scenarios import CHILD, PAGES_MAX, PARENT, WINDOW, Scenario, Statement
from ptelab.live.mapping import Behind, setup_lines
from ptelab.native.sequential import Event, Sequential

ENTRIES = WINDOW
"""Entries of a table.  No scenario depends on more, and arm64's invalidations are sets of pages in one word."""

BASE_PAGE = ENTRIES
"""The page where a mapping with offset 0 begins."""

_SIZES = {
    "PTRS_PER_PTE": ENTRIES, "FAULT_AROUND_PAGES": WINDOW, "MMU_GATHER_BUNDLE": 8, "MAX_GATHER_BATCH": 510,
    "MAX_GATHER_BATCH_COUNT": 1, "GATHER_BATCHES": 2, "GATHER_ENTRIES": 2 * 510, "MAX_TABLE_BATCH": 509,
    "NR_CPUS": 1, "NR_THREADS": 1, "VALUE_MAX": 1, "FILE_PAGES": PAGES_MAX, "ISOLATED_MAX": ENTRIES, "ZERO_PAGES": 1,
    "CONFIG_TLB_GENERATIONS": 1,
}  # fmt: skip
_TABLES = 1 + PAGES_MAX // ENTRIES
_PARTS = ("setup", "before", "look_before", "counted", "look_after")
_FAULT = "handle_mm_fault"

_HEAD = """# SPDX-License-Identifier: GPL-2.0-only
\"\"\"Generated: scenarios that a kernel performs as well.\"\"\"
from asm.pgtable import pmd_pfn, pmd_present, pte_pfn, pte_present, pte_young
from asm.pgtable_types import PTRS_PER_PTE, pmd_p, pte_p
from hw.memory import Addr
from linux.fs import address_space
from linux.mm import VM_MAYWRITE, VM_READ, VM_SHARED, VM_WRITE, folio_get, folio_put
from linux.mm_types import Folio, mm_struct, vm_area_struct
from linux.pagemap import folio_lock
from mm.filemap import folio_unlock
from mm.ksm import get_mergeable_page, write_protect_page
from setup import setup_cpu, setup_file, setup_file_page, setup_ksm, setup_mm, setup_task, setup_vma, setup_zero_page
from user import exit, fork, ksm_merge, madvise, mprotect, munmap, switch_to, user_load, user_store
from ptelab.lang import at, index_of, nr, u16


def seen_page(process: u16, page: u16, frame: u16, mapcount: u16, zero: bool, young: bool) -> None:
    \"\"\"A page of a process is mapped.\"\"\"
    pass


def seen_process(process: u16) -> None:
    \"\"\"A process was looked at.\"\"\"
    pass


def look(process: u16, start: Addr, pages: Addr) -> None:
    \"\"\"See what a process has mapped.\"\"\"
    mm = at(mm_struct, process)
    for page in range(pages):
        addr: Addr = start + page
        upper = at(pmd_p, index_of(mm.pgd) + addr // PTRS_PER_PTE).pmd
        if pmd_present(upper):
            pte = at(pte_p, pmd_pfn(upper) * PTRS_PER_PTE + addr % PTRS_PER_PTE).pte
            if pte_present(pte):
                folio = at(Folio, pte_pfn(pte))
                zero = index_of(folio) == nr(Folio) - 1
                young = pte_young(pte) and not zero
                seen_page(process, page, pte_pfn(pte), folio._mapcount, zero, young)
    seen_process(process)


def merge_first(mm: mm_struct, addr: Addr) -> None:
    \"\"\"Let a page become one that others are merged into.\"\"\"
    vma = mm.mm_mt[addr]
    page = get_mergeable_page(mm, addr)
    assert vma is not None and page is not None
    folio_lock(page)
    error, entry = write_protect_page(vma, page, addr)
    assert error == 0
    setup_ksm(page)
    folio_unlock(page)
    folio_put(page)
"""

_BECOME_SWITCH = """
def become(mm: mm_struct) -> None:
    \"\"\"Go on as a process.\"\"\"
    switch_to(mm)
"""

_BECOME_ANEW = """
from asm.current import get_current
from asm.pgtable_types import PTRS_PER_PMD, pmd_t
from boot import boot_cpu
from cpu import Cpu, tlb_entry
from hw.memory import NR_PAGES
from ptelab.lang import this_cpu


def become(mm: mm_struct) -> None:
    \"\"\"Go on as a process, on a CPU that has cached nothing: here a CPU cannot switch and come back.\"\"\"
    get_current().mm = mm
    mm.cpu_bitmap = mm.cpu_bitmap | 1
    boot_cpu(0, mm)
    for addr in range(NR_PAGES):
        this_cpu(Cpu).tlb[addr] = tlb_entry()
    for index in range(PTRS_PER_PMD):
        this_cpu(Cpu).psc[index] = pmd_t()
"""
_BECOME = {"x86_64": _BECOME_SWITCH}


class Model:
    """Scenarios compiled together, and run one by one."""

    def __init__(
        self, scenarios: Sequence[Scenario], profile: str, model: Path | None, patches: Sequence[Path]
    ) -> None:
        self._number = {s.name: n for n, s in enumerate(scenarios)}
        overlay = {"kernels.py": _module(scenarios, _BECOME.get(base(profile), _BECOME_ANEW))}
        sources = WithoutInvariants(base(profile), model, overlay=overlay, patches=patches)
        roots = [f"{part}{n}" for n in self._number.values() for part in _PARTS]
        compiled = frontend.compile_model(sources, roots)
        self._names = {name: key for key, (_, name) in compiled.names.items()}
        self._seen = {self._names[name]: name for name in ("seen_page", "seen_process", _FAULT)}
        functions = dict.fromkeys(f for s in scenarios for f in s.functions if f in self._names)
        self._functions = {self._names[f]: f for f in functions}
        params = _params(compiled.module, compiled.param_defaults, PROFILES[profile].params)
        watch = [*self._seen, *(f for f in self._functions if f not in self._seen)]
        self._run = Sequential(compiled.module, params, [self._names[r] for r in roots], watch, 10_000)

    def has(self, function: str) -> bool:
        """Whether the model has a function of this name that scenarios may call."""
        return function in self._functions.values()

    def observe(self, scenario: Scenario, functions: Sequence[str]) -> Observed:
        """What the model shows, with the calls of these functions.  Raises Stopped."""
        self._run.clear()
        events = {part: self._run.call(self._names[f"{part}{self._number[scenario.name]}"]) for part in _PARTS}
        collector = Collector()
        for when in WHEN:
            self._look(collector, when, events[f"look_{when}"])
        counted = [e.function for e in events["counted"]]
        calls = tuple(self._functions[f] for f in counted if self._functions.get(f) in functions)
        return collector.observed(sum(self._seen.get(f) == _FAULT for f in counted), calls)

    def _look(self, collector: Collector, when: str, events: Sequence[Event]) -> None:
        young = 0
        for event in events:
            values = {name.rpartition(".")[2]: value for name, value in event.args.items()}
            if self._seen[event.function] == "seen_page":
                young += values["young"]
                collector.page(
                    when, values["process"], values["page"], values["frame"], values["mapcount"], bool(values["zero"])
                )
            else:
                collector.process(when, values["process"], young)
                young = 0


def _params(module: ir.Module, defaults: Mapping[str, int], profile: Mapping[str, int]) -> dict[str, int]:
    params = dict(defaults) | {name: value for name, value in _SIZES.items() if name in defaults}
    params |= {"NR_PAGES": _TABLES * ENTRIES, "PTRS_PER_PMD": _TABLES, **_SIZES, **profile}
    folios = 6 * PAGES_MAX
    sizes = {
        "mm_struct": 2, "mm_context_t": 2, "Folio": folios, "Frame": folios, "Buddy": folios, "vm_area_struct": 8,
        "Child": 2, "Table": 2 * _TABLES, "ptdesc": 2 * _TABLES, "pte_p": 2 * _TABLES * ENTRIES, "pmd_p": 2 * _TABLES,
    }  # fmt: skip
    for struct in module.structs.values():
        if struct.kind in ("shared", "ghost"):
            params[f"nr_{struct.name}"] = sizes.get(struct.name, 1)
    return params


def _module(scenarios: Sequence[Scenario], become: str) -> str:
    lines = [_HEAD, become]
    for number, scenario in enumerate(scenarios):
        start = BASE_PAGE + scenario.offset
        looks = processes(scenario.before), processes(scenario.statements)
        bodies = {
            "setup": _setup(scenario),
            "before": _body(scenario.before, start),
            "look_before": [f"    look({process}, {start}, {scenario.pages})" for process in looks[0]],
            "counted": _body(scenario.counted, start),
            "look_after": [f"    look({process}, {start}, {scenario.pages})" for process in looks[1]],
        }
        for part, body in bodies.items():
            lines += ["", f"def {part}{number}() -> None:", f'    """{scenario.name}."""', *body]
    return "\n".join(lines) + "\n"


def processes(statements: Sequence[Statement]) -> list[int]:
    """Those that exist after some statements."""
    there = False
    for s in statements:
        there = s.call == "fork" or (there and s.call != "exit")
    return [PARENT, CHILD] if there else [PARENT]


def _setup(scenario: Scenario) -> list[str]:
    lines = setup_lines(
        _BEHIND[scenario.memory], BASE_PAGE + scenario.offset, scenario.pages, writable=scenario.writable,
        shared=scenario.shared, stays_dirty=True,
    )  # fmt: skip
    return [*lines, "    at(mm_struct, 1).mm_users = 1"]


# Neither tmpfs nor ramfs has a disk to write to; but ramfs, unlike tmpfs, wants to know of stores.
_BEHIND: dict[str, Behind] = {"anonymous": "nothing", "memory": "memory", "disk": "disk"}


def _body(statements: Sequence[Statement], start: int) -> list[str]:
    lines: list[str] = []
    for s in statements:
        if s.who == CHILD:
            lines.append("    become(at(mm_struct, 1))")
        lines += _lines(s, start)
        if s.who == CHILD:
            lines.append("    become(at(mm_struct, 0))")
    return lines or ["    pass"]


def _lines(s: Statement, start: int) -> list[str]:
    place = f"{start + s.first}, {s.count}"
    each = f"    for i in range({s.count}):"
    address = f"{start + s.first} + i * {s.argument}"
    match s.call:
        case "load":
            return [each, f"        value, segv = user_load({address})", "        assert not segv"]
        case "store":
            return [each, f"        assert not user_store({address}, 1)"]
        case "munmap":
            return [f"    assert munmap({place}) == 0"]
        case "mprotect":
            return [f"    assert mprotect({place}, {s.argument}) == 0"]
        case "madvise" if s.argument == 1:
            return []  # a hint for reading ahead, of which the model has nothing
        case "madvise":
            return [f"    assert madvise({place}, {s.argument}) == 0"]
        case "fork":
            return ["    assert fork(at(mm_struct, 1)) == 0"]
        case "exit":
            return ["    become(at(mm_struct, 1))", "    exit()", "    become(at(mm_struct, 0))"]
        case _:  # two pages that are not in the tree: ksmd keeps the one that it finds last
            mm = "at(mm_struct, 0)"
            kept = start + s.first + 1
            return [f"    merge_first({mm}, {kept})", each, f"        ksm_merge({mm}, {start + s.first} + i)"]
