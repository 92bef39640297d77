# SPDX-License-Identifier: GPL-2.0-only
"""`python tools/coverage_table.py`: write docs/coverage.md, what of Linux's functions the model has, per architecture.

A function is faithful if its docstring names nothing that differs or is left out, else reduced; it is absent if Linux
has it in a file that is mirrored and the model does not.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
KERNEL = ROOT / "model" / "linux"
TARGET = ROOT / "docs" / "coverage.md"
ARCHES = {"x86": "x86-64", "arm64": "arm64", "s390": "s390"}


@dataclass(slots=True)
class Mirror:
    """A mirrored file: where it is in Linux, the state of each function, and how many of Linux's it lacks."""

    origin: str
    whole: str = ""  # what differs in all of the file
    functions: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


def state(function: ast.FunctionDef) -> str:
    """`faithful`, or `reduced` with what is different, in the words of the docstring."""
    found = deviations(ast.get_docstring(function) or "")
    return f"reduced: {found}" if found else "faithful"


def deviations(docstring: str) -> str:
    """The `Left out:` and `Differs:` sentences of a docstring; that Linux has a name elsewhere is no deviation."""
    found = re.findall(r"(?:Left out|Differs): .*?(?=(?:Left out|Differs|Context): |$)", " ".join(docstring.split()))
    return " ".join(f.strip() for f in found if not f.startswith("Differs: Linux has it in"))


def mirrors() -> dict[str, Mirror]:
    """Every mirrored file by its path in model/linux."""
    known: dict[str, tuple[str, set[str]]] = {}
    for line in (KERNEL / "UPSTREAM").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            head, _, names = line.partition(": ")
            path, origin = head.rstrip(":").split()
            known[path] = origin, set(names.split())
    found = {}
    for path in sorted(KERNEL.rglob("*.py")):
        name = str(path.relative_to(KERNEL))
        origin, names = known.get(name, (name, set()))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        mirror = found[name] = Mirror(origin, deviations(ast.get_docstring(tree) or ""))
        mirror.functions = {f.name: state(f) for f in tree.body if isinstance(f, ast.FunctionDef)}
        mirror.absent = sorted(names - set(mirror.functions))
    return found


def share(mirror: Mirror) -> str:
    """How many functions are in which state, in words."""
    faithful = sum(s == "faithful" for s in mirror.functions.values())
    return f"{faithful} faithful, {len(mirror.functions) - faithful} reduced, {len(mirror.absent)} absent"


def generic(files: dict[str, Mirror]) -> list[str]:
    """The files that all architectures share, with what is reduced."""
    out = ["## Generic code", "", "It is the same on x86-64, arm64 and s390.", ""]
    for name, mirror in files.items():
        if name.startswith("arch/") or not mirror.functions:
            continue
        out += [f"### {mirror.origin}", "", f"{share(mirror)}.", "", *([mirror.whole, ""] if mirror.whole else [])]
        faithful = [f"`{f}`" for f, s in mirror.functions.items() if s == "faithful"]
        if faithful:
            out += [f"Faithful: {', '.join(faithful)}.", ""]
        reduced = [(f, s) for f, s in mirror.functions.items() if s != "faithful"]
        if reduced:
            out += ["| function | reduced |", "| --- | --- |"]
            out += [f"| `{f}` | {s.removeprefix('reduced: ').replace('|', chr(92) + '|')} |" for f, s in reduced]
            out += [""]
        out += folded(mirror)
    return out


def folded(mirror: Mirror) -> list[str]:
    """What Linux has there besides, folded away."""
    if not mirror.absent:
        return []
    names = ", ".join(mirror.absent)
    return [f"<details><summary>{len(mirror.absent)} absent</summary>", "", names, "", "</details>", ""]


def architectures(files: dict[str, Mirror]) -> list[str]:
    """The functions of architectures: a row each, a column per architecture."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for name, mirror in files.items():
        if name.startswith("arch/"):
            arch, rest = name.split("/")[1], "/".join(name.split("/")[2:])
            place = rest.removeprefix("include/").removesuffix(".py")
            for function, what in mirror.functions.items():
                rows.setdefault((function, place), {})[arch] = what.partition(":")[0]
    out = ["## Architectures", "", "Names that only one architecture has are absent on the others in Linux too.", ""]
    out += [f"| function | where | {' | '.join(ARCHES.values())} |", "| --- | --- |" + " --- |" * len(ARCHES)]
    for (function, place), states in sorted(rows.items(), key=lambda row: (row[0][1], row[0][0])):
        out.append(f"| `{function}` | {place} | {' | '.join(states.get(a, 'absent') for a in ARCHES)} |")
    out.append("")
    for name, mirror in files.items():
        if name.startswith("arch/") and mirror.functions:
            whole = [mirror.whole, ""] if mirror.whole else []
            out += [f"### {mirror.origin}", "", f"{share(mirror)}.", "", *whole, *folded(mirror)]
    return out


def table() -> str:
    """The whole text."""
    files = mirrors()
    total: dict[str, int] = {"faithful": 0, "reduced": 0}
    for mirror in files.values():
        for what in mirror.functions.values():
            total[what.partition(":")[0]] += 1
    head = [
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->",
        "# What of Linux is in the model",
        "",
        "Written by `tools/coverage_table.py` (`make update`) from the docstrings of model/linux and from the names",
        "that Linux v7.0 has in the files mirrored. *Faithful*: the docstring names no deviation of its own; what",
        "holds for a whole file stands below its name. *Reduced*: what differs or is left out is said. *Absent*:",
        "Linux has a function or macro of that name there, the model has not.",
        "",
        f"{total['faithful']} functions are faithful, {total['reduced']} reduced.",
        "",
    ]
    return "\n".join([*head, *generic(files), *architectures(files)]).rstrip() + "\n"


if __name__ == "__main__":
    TARGET.write_text(table(), encoding="utf-8")
