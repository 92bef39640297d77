# SPDX-License-Identifier: GPL-2.0-only
"""A file in the dialect that declares its threads itself, as a scenario: no kernel, no litmus test around it.

`@thread()` and `@daemon()` functions are the threads, in the order of the file.  Unless `cpu=` says otherwise, thread N
runs on CPU N, and so does copy N of a daemon: hardware is beside a thread.  `setup` makes the initial state and the
ghost `final` judges the quiescent ones; both may be missing.  A pool has one object unless the file declares the
parameter `nr_<Struct>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ptelab import frontend, ir, reduce
from ptelab.scenario import Scenario, Thread
from ptelab.source import SourceError, Sources, text_of

THREADS_MAX = 32


def read(path: Path, values: Mapping[str, int], reductions: frozenset[str] | None = None) -> Scenario:
    """Compile a program.  `values` are of layout parameters.  Raises SourceError and what the front end raises."""
    overlay = {path.name: text_of(path)}
    compiled = frontend.compile_program(Sources("x86_64", path.parent, overlay=overlay, alone=True))
    module = compiled.module
    known = dict(compiled.param_defaults)
    known |= {f"nr_{s.name}": 1 for s in module.structs.values() if f"nr_{s.name}" not in known and s.kind in _POOLS}
    for name, value in values.items():
        if name not in known:
            raise SourceError(f"{path}: no parameter “{name}”; write {', '.join(sorted(known)) or 'none'} instead")
        if value < 0 or (name.startswith("nr_") and value < 1):
            raise SourceError(f"{path}: {name} cannot be {value}; write a number from 1 on instead")
    params = known | dict(values)
    threads = _threads(path, compiled.threads, params)
    params["NR_CPUS"] = max(t.cpu for t in threads) + 1
    params["NR_THREADS"] = len(threads)
    for name in ("setup", "final"):
        if name not in module.functions:
            module.functions[name] = _empty(name)
    results = len(module.functions["final"].results)
    labels = compiled.observed if len(compiled.observed) == results else tuple(f"r{n}" for n in range(results))
    chosen = frozenset(reduce.REDUCTIONS) if reductions is None else reductions
    return Scenario(path.stem, module, params, threads, observed=labels, reductions=chosen)


_POOLS = ("shared", "ghost")


def _threads(path: Path, roots: list[frontend.Root], params: Mapping[str, int]) -> tuple[Thread, ...]:
    found: list[Thread] = []
    number = sum(params[r.copies] if isinstance(r.copies, str) else r.copies or 0 for r in roots)
    if not 0 < number <= THREADS_MAX:
        raise SourceError(f"{path}: {number} threads; write a program of 1 to {THREADS_MAX} instead")
    for root in roots:
        copies, cpu = (params[n] if isinstance(n, str) else n for n in (root.copies, root.cpu))
        for copy in range(copies or 0):
            name = root.function if copies == 1 else f"{root.function}{copy}"
            own = copy if root.daemon else len(found)
            found.append(Thread(name, root.function, own if cpu is None else cpu, root.daemon))
    return tuple(found)


def _empty(name: str) -> ir.Function:
    at = ir.At()
    return ir.Function(name, (), (), {}, [ir.Block([], ir.Return(at, ()))], name == "final", at)
