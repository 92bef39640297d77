# SPDX-License-Identifier: GPL-2.0-only
"""Squeezes of memory in the model: its own faults, lists and reclaim, run as one thread on as many pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ptelab import frontend
from ptelab.litmus.profiles import PROFILES
from ptelab.live.column import PAGE
from ptelab.live.counting import BASE_PAGE, WithoutInvariants, sizes
from ptelab.live.squeezing import TOUCHED, Left, Squeezing, sorts
from ptelab.native.sequential import Sequential

_FLAGS = "VM_READ | VM_MAYWRITE | VM_WRITE | VM_SHARED"

_HEAD = """# SPDX-License-Identifier: GPL-2.0-only
\"\"\"Generated: squeezes of memory.\"\"\"
from cpu import Cpu, tlb_entry
from fs.proc.task_mmu import CLEAR_REFS_ALL, clear_refs_write
from linux.fs import address_space
from linux.memcontrol import mem_cgroup
from linux.mm import VM_MAYWRITE, VM_READ, VM_SHARED, VM_WRITE
from linux.mm_types import Folio, mm_struct, vm_area_struct
from mm.memcontrol_v1 import mem_cgroup_resize_max
from mm.swap import folio_add_lru
from setup import setup_charge, setup_cpu, setup_file, setup_file_page, setup_mm, setup_task, setup_vma, setup_zero_page
from user import user_load
from ptelab.lang import at, this_cpu
"""


class ModelSqueezes:
    """Scenarios in the model: compiled together, run one by one."""

    def __init__(
        self, scenarios: Sequence[Squeezing], profile: str, model: Path | None, patches: Sequence[Path]
    ) -> None:
        self._number = {s.name: n for n, s in enumerate(scenarios)}
        sources = WithoutInvariants(profile, model, overlay={"squeezing.py": _module(scenarios)}, patches=patches)
        roots = [f"{part}{n}" for s, n in zip(scenarios, self._number.values(), strict=True) for part in _parts(s)]
        compiled = frontend.compile_model(sources, roots)
        self._names = {name: key for key, (_, name) in compiled.names.items()}
        params = sizes(max(s.pages for s in scenarios), 0, compiled.module, compiled.param_defaults)
        params |= {name: value for name, value in PROFILES[profile].params.items() if name in params}
        params["LRU_LISTS"] = 1
        self._run = Sequential(compiled.module, params, [self._names[r] for r in roots], [], 1)

    def left(self, scenario: Squeezing) -> list[Left]:
        """What is left in the model after each squeeze.  Raises Stopped."""
        found = []
        for part in _parts(scenario)[1:]:
            self._run.clear()
            number = self._number[scenario.name]
            self._run.call(self._names[f"setup{number}"])
            self._run.call(self._names[f"{part}{number}"])
            pages = [self._run.value("address_space", "i_pages", 0, i) != 0 for i in range(scenario.pages)]
            touched = sum(pages[TOUCHED :: scenario.stride])
            found.append(Left(touched, sum(pages) - touched))
        return found


def _parts(scenario: Squeezing) -> list[str]:
    return ["setup", *(f"by_{mb}_" for mb in scenario.squeezed)]


def _module(scenarios: Sequence[Squeezing]) -> str:
    lines = [_HEAD]
    for number, s in enumerate(scenarios):
        lines += [
            "", f"def setup{number}() -> None:", f'    """{s.name}: the file, the mapping and the accesses."""',
            "    setup_mm(at(mm_struct, 0))",
            "    setup_cpu(0, at(mm_struct, 0))",
            "    setup_task(0, 0, at(mm_struct, 0))",
            "    setup_zero_page()",
            "    setup_file(at(address_space, 0), False, False)",
            f"    for i in range({s.pages}):",
            "        setup_file_page(at(address_space, 0), i, at(Folio, i), 1)",
            "        setup_charge(at(Folio, i), at(mem_cgroup, 0))",
            "        folio_add_lru(at(Folio, i))",
            f"    at(mem_cgroup, 0).memory_usage = {s.pages}",
            f"    setup_vma(at(vm_area_struct, 0), at(mm_struct, 0), {BASE_PAGE}, {s.pages}, at(address_space, 0), 0, "
            f"{_FLAGS})",
            *_touches(s),
        ]  # fmt: skip
        if s.old:
            lines += [
                "    clear_refs_write(at(mm_struct, 0), CLEAR_REFS_ALL)",
                f"    for addr in range({BASE_PAGE}, {BASE_PAGE + s.pages}):",
                "        this_cpu(Cpu).tlb[addr] = tlb_entry()",  # which the CPU may do at any time
                *_touches(s),
            ]
        for mb in s.squeezed:
            lines += [
                "", f"def by_{mb}_{number}() -> None:", f'    """{s.name}: a squeeze."""',
                f"    refused = mem_cgroup_resize_max(at(mem_cgroup, 0), {s.pages - (mb << 20) // PAGE})",
                "    assert refused == 0",
            ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _touches(scenario: Squeezing) -> list[str]:
    return [
        f"    for i in range({sorts(scenario)[0]}):",
        f"        value, segv = user_load({BASE_PAGE + TOUCHED} + i * {scenario.stride})",
    ]
