# SPDX-License-Identifier: GPL-2.0-only
"""One page about all that was compared: what the model says, what kernels did, the verdict, and how to repeat it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ptelab.live.verdict import summary

KINDS = {"test": "Outcomes of litmus tests", "count": "Counts of events", "squeeze": "Squeezes of memory",
         "scenario": "Scenarios on other kernels", "kselftest": "The kernel's own tests"}  # fmt: skip


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


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }
body, pre { color: #222; background: #fff }
table { border-collapse: collapse; margin: 1em 0 }
th, td { border: 1px solid #ccc; padding: .25em .6em; text-align: left }
thead th, pre { background: #f3f3f3 }
td.ok { background: #e3f4e3 }
td.failed { background: #f9d5d5; font-weight: 600 }
td.skipped { color: #888 }
td.disturbed, td.incomplete { background: #fbf0cf }
pre { padding: .5em; white-space: pre-wrap; margin: .2em 0 }
summary { cursor: pointer }
h3 { margin: 1.2em 0 .2em }
span.failed { color: #a00 }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: .8em }
"""


def page(entries: Sequence[Entry]) -> str:
    """All of it as one page that needs no other file."""
    e = html.escape
    out = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>The model and Linux</title>',
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>The model and Linux</h1>\n<p>{e(_conclusion(entries))}</p>",
    ]
    for kind, title in KINDS.items():
        group = [entry for entry in entries if entry.kind == kind]
        if group:
            out += [f"<h2>{e(title)}</h2>", *_table(group), *_details(group)]
    return "\n".join([*out, "</body>\n</html>\n"])


def _table(entries: Sequence[Entry]) -> list[str]:
    e = html.escape
    kernels = _kernels(entries)
    out = [
        "<table>",
        "<thead><tr><th></th>" + "".join(f"<th>{e(k)}</th>" for k in kernels) + "</tr></thead>",
        "<tbody>",
    ]
    for name, group in _by_name(entries).items():
        status = {entry.kernel: entry.status for entry in group}
        cells = "".join(f'<td class="{e(status.get(k, ""))}">{e(status.get(k, ""))}</td>' for k in kernels)
        out.append(f'<tr><th><a href="#{e(_anchor(group[0]))}">{e(name)}</a></th>{cells}</tr>')
    return [*out, "</tbody>", "</table>"]


def _anchor(entry: Entry) -> str:
    return f"{entry.kind}-{entry.name}"


def _details(entries: Sequence[Entry]) -> list[str]:
    e = html.escape
    out: list[str] = []
    for name, group in _by_name(entries).items():
        out += [f'<h3 id="{e(_anchor(group[0]))}">{e(name)}</h3>', f"<p>{e(group[0].question)}</p>"]
        for entry in group:
            opened = " open" if entry.figure or entry.status not in ("ok", "skipped") else ""
            out += [
                f"<details{opened}><summary>{e(entry.kernel)}: "
                f'<span class="{e(entry.status)}">{e(entry.status)}</span></summary>',
                f'<div class="sides"><div>model<pre>{e(entry.model)}</pre></div>'
                f"<div>kernel<pre>{e(entry.seen)}</pre></div></div>",
                *([f"<p>{entry.figure}</p>"] if entry.figure else []),
                *([f"<pre>{e(entry.notes)}</pre>"] if entry.notes else []),
                f"<p>To repeat: <code>{e(entry.repeat)}</code></p></details>",
            ]
    return out
