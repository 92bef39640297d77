# SPDX-License-Identifier: GPL-2.0-only
"""`python tools/upstream.py LINUX`: write model/linux/UPSTREAM from a tree of Linux v7.0.

For every file that the model mirrors, the names that Linux defines or declares there: names only, no code.
`tests/test_tidy.py` holds the model to them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

MODEL = Path(__file__).parent.parent / "model" / "linux"

_MIRRORS = re.compile(r'^"""Mirrors (\S+) \(v7\.0\)(, with what it includes)?', re.MULTILINE)
_NAME = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+[<"]([\w/.-]+)[>"]', re.MULTILINE)
_SYSCALL = re.compile(r"^SYSCALL_DEFINE\d\((\w+)", re.MULTILINE)
_ENTRY = re.compile(r"^DEFINE_IDTENTRY\w*\((\w+)", re.MULTILINE)
_FLAG = re.compile(r"^_*(?:PAGEFLAG|FOLIO_\w*FLAG|\w*PAGEFLAG|\w*TEST\w*FLAG)\w*\((\w+)(?:,\s*(\w+))?", re.MULTILINE)


def names(text: str) -> set[str]:
    """What a C file defines or declares: functions, macros, and the functions that page-flag macros make."""
    found = set(_DEFINE.findall(text))
    for line in text.splitlines():
        if line[:1].isalpha() or line[:1] == "_":
            found.update(_NAME.findall(line))
    found |= {f"sys_{name}" for name in _SYSCALL.findall(text)} | set(_ENTRY.findall(text))
    for upper, lower in _FLAG.findall(text):
        flag = upper if upper.islower() else lower or upper
        found |= {f"folio_{verb}_{flag}" for verb in ("test", "set", "clear", "test_set", "test_clear")}
        found |= {f"__folio_{verb}_{flag}" for verb in ("set", "clear")}
    return found


def _with_includes(linux: Path, path: str, seen: set[str]) -> set[str]:
    if path in seen or not (linux / path).is_file():
        return set()
    seen.add(path)
    text = (linux / path).read_text(encoding="utf-8", errors="replace")
    found = names(text)
    for include in _INCLUDE.findall(text):
        # Only what belongs to the same header: asm/… of the same architecture and asm-generic/….
        if include.startswith("asm/"):
            found |= _with_includes(linux, f"{path.partition('asm/')[0]}{include}", seen)
        elif include.startswith("asm-generic/"):
            found |= _with_includes(linux, f"include/{include}", seen)
    return found


def main() -> None:
    """Write the list."""
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/upstream.py LINUX")
    linux = Path(sys.argv[1])
    lines = ["# Names that Linux v7.0 has in the files mirrored here; made by tools/upstream.py."]
    for mirror in sorted(MODEL.rglob("*.py")):
        match = _MIRRORS.search(mirror.read_text(encoding="utf-8"))
        if match is None:
            sys.exit(f"{mirror}: its docstring does not say what it mirrors")
        if not (linux / match[1]).is_file():
            found = set()
            if "\ndef " in mirror.read_text(encoding="utf-8"):
                sys.exit(f"{mirror}: {linux} has no {match[1]}")
        elif match[2] == ", with what it includes":
            found = _with_includes(linux, match[1], set())
        else:
            found = names((linux / match[1]).read_text(encoding="utf-8", errors="replace"))
        lines.append(f"{mirror.relative_to(MODEL)} {match[1]}: {' '.join(sorted(n for n in found if not n.isupper()))}")
    (MODEL / "UPSTREAM").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
