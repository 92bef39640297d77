# SPDX-License-Identifier: GPL-2.0-only
"""One page about all that was compared: what the model says, what kernels did, the verdict, and how to repeat it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ptelab.live.verdict import summary

KINDS = {"test": "Outcomes of litmus tests", "count": "Counts of events", "squeeze": "Squeezes of memory",
         "scenario": "Scenarios on other kernels", "kselftest": "The kernel's own tests"}  # fmt: skip

WIDE = 120
"""Characters that are too many for a cell of a table."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A comparison: `kind` is one of KINDS; the model's and the kernel's side are lines of text."""

    kind: str
    name: str
    question: str
    kernel: str
    status: str  # ok, failed, disturbed, incomplete, skipped
    model: str
    seen: str
    repeat: str  # a command
    figure: str = ""  # SVG
    notes: str = ""


def write(path: Path, entries: Sequence[Entry]) -> list[Path]:
    """Write the page, and the same as text beside it: the files."""
    plain = path.with_suffix(".txt")
    path.write_text(page(entries), encoding="utf-8")
    plain.write_text(text(entries), encoding="utf-8")
    return [path, plain]


def _kernels(entries: Iterable[Entry]) -> list[str]:
    return list(dict.fromkeys(e.kernel for e in entries))


def _by_name(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for e in entries:
        found.setdefault(e.name, []).append(e)
    return found


def _conclusion(entries: Sequence[Entry]) -> str:
    kernels = _kernels(entries)
    return summary("comparisons", [e.status for e in entries], f"; {len(kernels)} kernels: {', '.join(kernels)}")


def text(entries: Sequence[Entry]) -> str:
    """All of it as text."""
    out = ["The model and Linux", _conclusion(entries)]
    for kind, title in KINDS.items():
        for name, group in _by_name(e for e in entries if e.kind == kind).items():
            if title:
                out += ["", title, "=" * len(title)]
                title = ""
            out += ["", name, f"  {group[0].question}"]
            for e in group:
                out += [f"  {e.kernel}: {e.status}"]
                sides = [("both say", e.model)] if e.model == e.seen else [("the model says", e.model),
                                                                          ("the kernel says", e.seen)]  # fmt: skip
                for who, said in ((who, said) for who, said in sides if said):
                    out += [f"    {who}", *(f"      {line}" for line in said.splitlines())]
                out += [f"    {line}" for line in e.notes.splitlines()]
                out += [f"    to repeat: {e.repeat}"]
    return "\n".join(out) + "\n"


def page(entries: Sequence[Entry]) -> str:
    """All of it as one page that needs no other file: `report.html`, filled in."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only a report needs it

    environment = Environment(
        loader=PackageLoader("ptelab.live", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    kinds = {kind: [e for e in entries if e.kind == kind] for kind in KINDS}
    sections = [
        {"kind": kind, "title": KINDS[kind], "kernels": _kernels(group), "groups": _by_name(group),
         "short": all(_one_line(e) for e in group)}
        for kind, group in kinds.items() if group
    ]  # fmt: skip
    return environment.get_template("report.html").render(conclusion=_conclusion(entries), sections=sections)


# Whether both sides fit into a table.
def _one_line(entry: Entry) -> bool:
    return all("\n" not in side.strip() and len(side) < WIDE for side in (entry.model, entry.seen))
