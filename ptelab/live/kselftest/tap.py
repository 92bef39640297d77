# SPDX-License-Identifier: GPL-2.0-only
"""What a selftest of the kernel says: TAP, as tools/testing/selftests/kselftest.h writes it.

Libraries for TAP read its standard, which this is not quite: `ok 2 # SKIP name` has the directive before the
description, XFAIL, XPASS and error are directives too, and what a case is about may stand in a comment before it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Answer: TypeAlias = Literal["ok", "not ok", "skip"]

_RESULT = re.compile(r"(?P<not>not )?ok (?P<number>\d+)(?: -)?(?: # (?P<word>SKIP|XFAIL|XPASS|error)\b)? ?(?P<name>.*)")
_TRAILING = re.compile(r"(?P<name>.*?) # (?P<word>SKIP|XFAIL|XPASS|error)\b ?(?P<why>.*)")
_PLAN = re.compile(r"1\.\.(?P<count>\d+)(?: # SKIP ?(?P<why>.*))?")
_SECTION = re.compile(r"# ?\[(?:RUN|INFO)\] (?P<name>.*)")
_GLUED = re.compile(r"(?<=.)(?=# \[(?:RUN|INFO)\] )")


@dataclass(frozen=True, slots=True)
class Case:
    """A case: `section` is the comment before it that begins a part of the tests; `remark` is said of this case."""

    number: int
    section: str
    name: str
    answer: Answer
    remark: str = ""

    @property
    def words(self) -> str:
        """All that says what the case is about."""
        return f"{self.section}: {self.name}" if self.section else self.name


@dataclass(slots=True)
class Said:
    """All that a program said.  `plan`: how many cases it wanted to run; `why`: why it ended early or ran none."""

    cases: list[Case] = field(default_factory=list)
    plan: int | None = None
    why: str = ""

    @property
    def missing(self) -> int:
        """How many cases were promised, and never came."""
        return max(0, (self.plan or 0) - len(self.cases))


def read(text: str) -> Said:
    """Read TAP.  What is none is passed over."""
    said = Said()
    section = remark = ""
    lines = [part for line in text.splitlines() for part in _GLUED.split(line)]  # a name may lack its newline
    for line in lines:
        if match := _SECTION.match(line):
            if not match["name"].startswith("detected "):  # a remark on the machine
                section, remark = match["name"].strip(), ""
        elif match := _RESULT.fullmatch(line):
            said.cases.append(_case(match, section, remark))
            remark = ""
        elif match := _PLAN.fullmatch(line):
            said.plan = int(match["count"])
            said.why = match["why"] or ""
        elif line.startswith("Bail out!"):
            said.why = line.removeprefix("Bail out!").strip()
        elif line.startswith("# "):
            remark = line[2:].strip()
    return said


def _case(match: re.Match[str], section: str, remark: str) -> Case:
    name, word = match["name"].strip(), match["word"]
    trailing = _TRAILING.fullmatch(name)
    if word is None and trailing:
        name, word, remark = trailing["name"], trailing["word"], trailing["why"] or remark
    failed = match["not"] or word in ("XFAIL", "error")
    answer: Answer = "skip" if word == "SKIP" else "not ok" if failed else "ok"
    if word in ("XFAIL", "XPASS"):
        remark = f"{remark}; the test calls it {word}".removeprefix("; ")
    return Case(int(match["number"]), section, name, answer, remark)


def titles(cases: Sequence[Case]) -> list[str]:
    """What to call each case: its name, and its section too where several have the same name."""
    often = Counter(case.name for case in cases)
    return [case.section if _is_reason(case) else case.name if often[case.name] == 1 else case.words for case in cases]


def reason(case: Case) -> str:
    """Why a case was skipped."""
    return case.remark or (case.name if _is_reason(case) else "the kernel's test does not say why")


# Before 6.13 most tests say in place of the name why they skip a case.
def _is_reason(case: Case) -> bool:
    return case.answer == "skip" and bool(case.section) and not case.remark
