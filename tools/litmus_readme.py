# SPDX-License-Identifier: GPL-2.0-only
"""`python tools/litmus_readme.py`: write the table of litmus/README.md from the questions of the tests."""

from __future__ import annotations

from pathlib import Path

from ptelab.litmus.build import read

LITMUS = Path(__file__).parent.parent / "litmus"
TARGET = LITMUS / "README.md"
HEAD = """<!-- SPDX-License-Identifier: GPL-2.0-only -->
# Litmus tests

Each is a question about Linux's page-table code; the file says what the answer must be. `ptelab check NAME` asks it,
`NAME.expected` holds what was measured (written by `make update`). The format: [docs/litmus.md](../docs/litmus.md).

Names are what races with what, in the kernel's words: `munmap+store+writeback+second_mapper`. This table is written by
`tools/litmus_readme.py` (`make update`).

| test | asks | answer |
| --- | --- | --- |
"""


def table() -> str:
    """The whole text: a row per test, and what differs between profiles."""
    rows = []
    for path in sorted(LITMUS.glob("*.litmus")):
        test = read(path)
        answer = (test.expected or "").lower()
        answer += "".join(f", {word.lower()} on {arch}" for arch, word in test.exceptions.items())
        rows.append(f"| `{test.name}` | {test.question.replace('|', chr(92) + '|')} | {answer} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    TARGET.write_text(table(), encoding="utf-8")
