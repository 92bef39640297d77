# SPDX-License-Identifier: GPL-2.0-only
"""Reductions: fewer states, the same verdicts and outcomes.  Each has a name and can be switched off."""

from __future__ import annotations

from dataclasses import dataclass

from ptelab.link import callees_first, with_ghost_calls, written_fields
from ptelab.scenario import Scenario

REDUCTIONS = {
    "constant": "reads of shared members that no thread of the scenario ever writes are no steps",
    "dead": "local variables that will not be read again are zeroed",
    "ample": "where one thread's transition cannot be told from a later one by any other thread, only it is taken",
}


@dataclass(frozen=True, slots=True)
class Reduction:
    """Which reductions are on, with what an analysis of the scenario found for them."""

    dead: bool = False
    ample: bool = False
    free_fields: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, scenario: Scenario) -> Reduction:
        """Analyse a scenario for the reductions that it asks for."""
        names = scenario.reductions
        free: frozenset[tuple[str, str]] = frozenset()
        if "constant" in names:
            roots = [t.root for t in scenario.threads]
            module = with_ghost_calls(scenario.module, roots)
            written = written_fields(module, callees_first(module, list(module.functions)))
            free = frozenset(
                (s.name, f.name)
                for s in module.structs.values()
                if s.kind == "shared"
                for f in s.fields
                if not f.lock and not f.ghost and (s.name, f.name) not in written
            )
        return cls("dead" in names, "ample" in names, free)
