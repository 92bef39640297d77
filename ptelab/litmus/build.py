# SPDX-License-Identifier: GPL-2.0-only
"""A litmus test and a model make a scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ptelab import frontend, ir, reduce
from ptelab.frontend import Compiled
from ptelab.litmus import syntax
from ptelab.litmus.columns import calls_of
from ptelab.litmus.generate import MODULE, Generated, generate
from ptelab.litmus.model import Api
from ptelab.litmus.observe import Observation, atoms
from ptelab.litmus.parse import parse
from ptelab.litmus.profiles import PROFILES
from ptelab.litmus.resolve import Test, alike, known, resolve
from ptelab.scenario import Scenario, Thread
from ptelab.source import SourceError, Sources


@dataclass(slots=True)
class Built:
    """A test on one architecture, ready to be explored."""

    test: Test
    arch: str
    scenario: Scenario
    generated: Generated
    sources: Sources
    compiled: Compiled


def read(path: Path) -> Test:
    """Read, parse and check a litmus file.  Raises LitmusError and OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise syntax.LitmusError(str(path), syntax.Pos(1, 1), f"this is no text in UTF-8 ({error.reason})") from error
    return resolve(parse(text, str(path)))


def build(
    test: Test,
    arch: str,
    model: Path | None = None,
    patches: Sequence[Path] = (),
    reductions: frozenset[str] = frozenset(reduce.REDUCTIONS),
    edits: Mapping[str, str] | None = None,
    watch: Sequence[Observation] = (),
) -> Built:
    """Compile a test with a model.  Raises LitmusError, SourceError and what the front end raises."""
    path = f"{MODULE}.py"
    base = Sources(arch, model, patches=patches, edits=edits)
    generated = generate(test, Api(base), watch)
    sources = base.under({path: generated.text})
    threads = _threads(test, arch)
    compiled = frontend.compile_model(sources, [*(root for _, root, _ in threads), "setup", "final"])
    _check_names(test, compiled)

    def function(root: str) -> str:
        module, _, name = root.rpartition(":")
        text = sources.module(module) if module else None
        place = (text.path if text else path, name)
        return next(name for name, found in compiled.names.items() if found == place)

    params = _params(test, generated, compiled, len(threads), arch)
    located = _located(compiled.module, test, generated, {function(f"P{c.number}") for c in test.columns})
    scenario = Scenario(
        name=test.name,
        module=reduce.without_dead_branches(located, params),
        params=params,
        threads=tuple(Thread(name, function(root), cpu, daemon=":" in root) for name, root, cpu in threads),
        setup=function("setup"),
        final=function("final"),
        observed=generated.observed,
        symbols=_symbols(test),
        reductions=reductions,
    )
    if scenario.params.get("nr_Table") == 1:  # then the slots of the one table are the addresses
        scenario.symbols["pte_p"] = scenario.symbols["addr"]
    return Built(test, arch, scenario, generated, sources, compiled)


# (name, root, CPU) of the columns and of the hardware beside them.
def _threads(test: Test, arch: str) -> list[tuple[str, str, int]]:
    programs = [(f"P{c.number}", f"P{c.number}", c.cpu) for c in test.columns]
    users = sorted({c.cpu for c in test.columns if c.mm})
    cpus = len({c.cpu for c in test.columns})
    actors = [a for a in PROFILES[arch].actors if a.issuer is None or a.issuer < cpus]
    return programs + [(f"{a.name}{cpu}", a.root, cpu) for cpu in users for a in actors]


# What traces call the elements of pools, and addresses.
def _symbols(test: Test) -> dict[str, dict[int, str]]:
    pages = {f.first_folio + i: f"{f.name}[{i}]" for f in test.files.values() for i in range(len(f.values))}
    pages |= {test.file_pages + p.number: p.name for p in test.pages.values()}
    addresses: dict[int, str] = {}
    for vma in test.vmas.values():
        for page in range(vma.pages):
            name = vma.name if page == 0 else f"{vma.name}+{page}"
            addresses.setdefault(vma.start + page, name)
    return {
        "Folio": pages,
        "Frame": pages,
        "mm_struct": dict(enumerate(test.mms)),
        "mem_cgroup": dict(enumerate(test.memcgs)),
        "address_space": {f.number: f.name for f in test.files.values()},
        "Disk": {f.number: f.name for f in test.files.values()},
        "vm_area_struct": {v.number: v.name for v in test.vmas.values()},
        "addr": addresses,
    }


# ---------------------------------------------------------------------------------------------- layout


def _params(test: Test, generated: Generated, compiled: Compiled, threads: int, arch: str) -> dict[str, int]:
    """Sizes as small as the test allows, what `Bounds=` says on top."""
    params = dict(compiled.param_defaults)
    params |= {name: value for name, value in PROFILES[arch].params.items() if name in params}
    params |= {
        "NR_CPUS": len({c.cpu for c in test.columns}),
        "NR_THREADS": threads,
        "VALUE_MAX": generated.value_max,
        "FILE_PAGES": max((len(f.values) for f in test.files.values()), default=1),
    }
    entries = max(1, test.bounds.get("PTRS_PER_PTE", params.get("PTRS_PER_PTE", 2)))
    pages = max((v.start + v.pages for v in test.vmas.values()), default=1)
    if test.has_private:
        params["FILE_PAGES"] = max(params["FILE_PAGES"], -(-pages // entries) * entries)
        params["ZERO_PAGES"] = 1
    # No list is longer than the files are, and passes of reclaim that look at none of it are left out.
    params["DEF_PRIORITY"] = max(test.file_pages.bit_length() - 1, 0)
    params["ISOLATED_MAX"] = test.file_pages if test.has_lists else params["FILE_PAGES"]
    if test.swap:
        params |= {"CONFIG_SWAP": 1, "SWAP_SLOTS": len(test.slots)}
    params["PTRS_PER_PTE"] = entries
    params["PTRS_PER_PMD"] = -(-pages // entries)
    params["NR_PAGES"] = params["PTRS_PER_PMD"] * entries
    derived = set(params) - set(compiled.param_defaults) | {"NR_CPUS", "FILE_PAGES", "NR_PAGES", "PTRS_PER_PMD"}
    derived |= {"CONFIG_SWAP", "SWAP_SLOTS", "ISOLATED_MAX"}
    derived |= {"GATHER_BATCHES", "GATHER_ENTRIES", *_scope(params)} & set(params)
    pools = _pools(test, params, compiled.module)
    # Pools that only a changed model has: their size is the test's to say.
    shared = [s.name for s in compiled.module.structs.values() if s.kind in ("shared", "ghost")]
    strangers = {f"nr_{name}": 1 for name in shared if f"nr_{name}" not in pools}
    for name, value in test.bounds.items():
        if name in _SPARE:
            continue
        params[name] = _bound(test, name, value, strangers | params, (derived | set(pools)) - {"VALUE_MAX"})
    if "GATHER_BATCHES" in params:
        params["GATHER_BATCHES"] = params["MAX_GATHER_BATCH_COUNT"] + 1
        params["GATHER_ENTRIES"] = params["GATHER_BATCHES"] * params["MAX_GATHER_BATCH"]
    params |= {name: value for name, value in _scope(params).items() if name in params}
    return params | {name: size for name, size in pools.items() if name not in test.bounds}


_WORD_BITS = 62


# What a flush may cover, where that is a number: a bit for each page and upper entry, and as many for each CPU.
def _scope(params: dict[str, int]) -> dict[str, int]:
    bits = params["NR_PAGES"] + params["PTRS_PER_PMD"]
    all_cpus = bits * params["NR_CPUS"]
    if "REQUESTS_MAX" in params and all_cpus > _WORD_BITS:
        raise SourceError(f"{params['NR_PAGES']} pages are too many for {params['NR_CPUS']} CPUs; use fewer")
    return {"SCOPE_MAX": (1 << bits) - 1, "REQUESTS_MAX": (1 << all_cpus) - 1}


_SPARE = ("SPARE_PAGES", "SPARE_TABLES")
"""How many free elements there are, whatever else the sizes of their pools follow from."""

_MINIMA = {"MAX_GATHER_BATCH_COUNT": 0, "MAX_GATHER_BATCH": 2, "MMU_GATHER_BUNDLE": 2}
_BOUND_MAX = 255


# The value of one entry of `Bounds=`, which must leave the sizes consistent.
def _bound(test: Test, name: str, value: int, params: dict[str, int], derived: set[str]) -> int:
    pos = next((m.pos for m in test.litmus.metadata if m.key == "Bounds" and name in m.value), syntax.Pos(1, 1))
    free = sorted([*_SPARE, *(n for n in params if n not in derived)])
    if name in derived:
        raise test.error(pos, f"{name} follows from the test", known(free))
    if name not in params:
        raise test.error(pos, f"the model has no bound '{name}'", known(free))
    least = params[name] if name == "VALUE_MAX" else _MINIMA.get(name, 1)
    most = _BOUND_MAX
    if name == "MMU_GATHER_BUNDLE":
        most = test.bounds.get("MAX_GATHER_BATCH", params["MAX_GATHER_BATCH"])
    elif name == "MAX_GATHER_BATCH":
        least = test.bounds.get("MMU_GATHER_BUNDLE", params["MMU_GATHER_BUNDLE"])
    if not least <= value <= most:
        raise test.error(pos, f"{name} cannot be {value} here", f"a number from {least} to {most}")
    return value


# How many pages the columns may need at most if no allocation is in vain twice: one a store, a pin or a fork, and one
# a load where pages are read from swap.
def _allocations(test: Test) -> int:
    words = [
        "WRITE_ONCE",
        "pin_user_pages",
        "get_user_pages",
        "vmsplice",
        "fork",
        *(["READ_ONCE"] if test.swap else []),
    ]
    calls = (c for column in test.columns for c in calls_of(column.process.body))
    return test.bounds.get("SPARE_PAGES", 1 + sum(name in words for name in calls))


def _pools(test: Test, params: dict[str, int], module: ir.Module) -> dict[str, int]:
    mms, files = len(test.mms), len(test.files)
    folios = test.file_pages + len(test.pages)
    if test.has_private:
        folios += _allocations(test) + 1
    vmas = len(test.vmas) + sum(v.mm == parent for parent in test.children.values() for v in test.vmas.values())
    # Two faults that find no table bring one each, and only one is used.
    users = [c.mm for c in test.columns if c.mm]
    tables = sum(params["PTRS_PER_PMD"] + max(0, users.count(mm) - 1) for mm in test.mms)
    # A table that MADV_DONTNEED has emptied may be freed, and a freed one is not used again.
    calls = [c for column in test.columns for c in calls_of(column.process.body)]
    whole = any(v.pages >= params["PTRS_PER_PTE"] for v in test.vmas.values())
    tables += calls.count("madvise") if whole else 0
    # A driver's fault allocates one while the one that was brought waits.
    tables += len(users) if any(f.device for f in test.files.values()) else 0
    tables += test.bounds.get("SPARE_TABLES", 0)
    sizes = {
        "mm_struct": mms,
        "mm_context_t": mms,
        "mem_cgroup": max(len(test.memcgs), 1),
        "address_space": max(files, 1),
        "Disk": max(files, 1),
        "SwapDisk": 1,
        "swap_cluster_info": 1,
        "anon_vma": 1,
        "vmw_bo_dirty": max(files, 1),
        "walk_counts": params["NR_THREADS"],
        "Folio": folios,
        "Frame": folios,
        "vm_area_struct": vmas,
        "Buddy": folios,
        "Child": mms,
        "Device": params["NR_THREADS"],
        "fault_view": params["NR_THREADS"],
        "private_view": mms * params["NR_PAGES"],
        "soft_view": mms * params["NR_PAGES"],
        "Table": tables,
        "ptdesc": tables,
        "pte_p": tables * params["PTRS_PER_PTE"],
        "pmd_p": mms * params["PTRS_PER_PMD"],
        "task_struct": params["NR_THREADS"],
        "tlb_state": params["NR_CPUS"],
        "call_single_queue": params["NR_CPUS"],
        "Core": params["NR_CPUS"],
        "Broadcasts": params["NR_CPUS"],
        "Interconnect": params["NR_CPUS"] ** 2,
        "lockless_walks": params["NR_CPUS"],
        "tlb_marks": params["NR_CPUS"] * params["NR_PAGES"],
        "zapping": 1,
        "zone": 1,
        "lruvec": 1,
        "LitmusColumns": 1,
    }
    shared = [s.name for s in module.structs.values() if s.kind in ("shared", "ghost")]
    shared = [name for name in shared if name in sizes or f"nr_{name}" not in params | test.bounds]
    if strangers := [name for name in shared if name not in sizes]:
        raise SourceError(f"the model's pool {strangers[0]} has no size; write Bounds=nr_{strangers[0]}:1 in the test")
    return {f"nr_{name}": max(1, sizes.get(name, 1)) for name in shared}


# --------------------------------------------------------------------------------------------- places


def _located(module: ir.Module, test: Test, generated: Generated, columns: set[str]) -> ir.Module:
    """The module with the columns' statements placed in the litmus file, where their author knows them."""
    file = Path(test.litmus.file).name

    def at(place: ir.At) -> ir.At:
        line = generated.lines.get(place.line)
        return ir.At(file, line) if line else place

    functions = dict(module.functions)
    for name in columns:
        blocks = [
            ir.Block([replace(s, at=at(s.at)) for s in block.stmts], replace(block.term, at=at(block.term.at)))
            for block in functions[name].blocks
        ]
        functions[name] = replace(functions[name], blocks=blocks, at=at(functions[name].at))
    return ir.Module(module.structs, functions)


# --------------------------------------------------------------------------------------------- names


def _check_names(test: Test, compiled: Compiled) -> None:
    for name, pos, _ in test.reach:
        if name not in compiled.situations:
            raise test.error(pos, f"unknown situation '{name}'", alike(name, compiled.situations))
    condition = test.litmus.condition
    for atom in atoms(condition.prop if condition else None):
        if isinstance(atom, syntax.FlagAtom) and atom.name not in compiled.flags:
            raise test.error(atom.pos, f"unknown flag '{atom.name}'", alike(atom.name, compiled.flags))
