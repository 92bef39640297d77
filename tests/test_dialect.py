# SPDX-License-Identifier: GPL-2.0-only
"""The front end must neither change the meaning of a construct nor let a wrong one pass without a located message."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ptelab import frontend, irtext, lang
from ptelab.frontend import lower
from ptelab.frontend.declarations import WORDS, parse
from ptelab.frontend.errors import DialectError
from ptelab.source import Sources, Text

ROOT = Path(__file__).parents[1]
CASES = ROOT / "tests" / "dialect"
ACCEPTED = sorted((CASES / "accepted").glob("*.py"))
REFUSED = sorted((CASES / "refused").glob("*.py"))
EXAMPLES = re.findall(
    r"^```python(?: (refused))?\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?",
    (ROOT / "docs" / "dialect.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
# Examples need not repeat what every file starts with.
Golden = Callable[[Path, str], None]
PRELUDE = """from enum import IntEnum
from typing import Annotated, NamedTuple, TypeAlias
from ptelab.lang import {words}
"""


USER = """from {module} import S
def f(x: S) -> bool:
    return x.v
"""
MEMBER = """from ptelab.lang import struct
@struct
class S:
    {name}: bool
"""


@pytest.mark.parametrize("place, module", [
    ("linux/b.py", "b"),  # laid over a file of the model
    ("linux/arch/arm64/mm/b.py", "linux.arch.arm64.mm.b"),  # of another architecture, so no part of this model
])  # fmt: skip
def test_what_a_declaration_means_is_not_taken_from_another_model(tmp_path: Path, place: str, module: str) -> None:
    """A model that differs in one file must not be compiled with what that file said before."""
    for path, text in (("linux/a.py", USER.format(module=module)), (place, MEMBER.format(name="v"))):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    overlay = {"litmus.py": "from a import f\nfrom ptelab.lang import at\n"}
    overlay["litmus.py"] += f"from {module} import S\ndef main() -> None:\n    if f(at(S, 0)):\n        pass\n"
    other = MEMBER.format(name="w: bool\n    v")
    members = []
    for changed in (False, True, False, True):
        over = {**overlay, place: other} if changed and module == "b" else overlay
        edits = {place: other} if changed and module != "b" else {}
        found = frontend.compile_model(Sources("x86_64", tmp_path, overlay=over, edits=edits), ["main"])
        members.append([f.name for f in found.module.structs["S"].fields])
    assert members == [["v"], ["w", "v"]] * 2


DECLARED = """from typing import Annotated
from ptelab.lang import param, struct, upto
N = param("N", default=2)
@struct
class S:
    v: bool
def f(x: S,
      y: bool = False) -> bool:
    return y
"""


@pytest.mark.parametrize("change", [
    ("@struct", "@percpu"), ("class S", "class T"), ("v: bool", "w: bool"), ("default=2", "default=3"), ("x: S", "x: T"),
    ("= False", "= True"), ("-> bool", "-> S"), ("def f", "@ghost\ndef f"), ("def f", "X = 1\ndef f"),
])  # fmt: skip
def test_what_else_a_file_declares_is_seen(change: tuple[str, str]) -> None:
    """Functions that were lowered for other declarations must not be used again."""
    files = [parse(Text("b.py", "b.py", text)) for text in (DECLARED, DECLARED.replace(*change))]
    assert lower._declarations(files[0]) != lower._declarations(files[1])
    body = parse(Text("b.py", "b.py", DECLARED.replace("return y", "return not y")))
    assert lower._declarations(files[0]) == lower._declarations(body)


def test_a_function_is_not_taken_from_a_model_in_which_a_struct_was_of_another_kind(tmp_path: Path) -> None:
    """A ghost must be refused in code of the system even where that code was compiled before it was one."""
    user = "from ptelab.lang import at\nfrom b import S\ndef f() -> None:\n    at(S, 0).v = True\n"
    member = MEMBER.format(name="v").replace("import struct", "import ghost, struct")
    for path, text in (("linux/a.py", user), ("linux/b.py", member)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    overlay = {"litmus.py": "from a import f\ndef main() -> None:\n    f()\n"}
    frontend.compile_model(Sources("x86_64", tmp_path, overlay=overlay), ["main"])
    edits = {"linux/b.py": member.replace("@struct", "@ghost")}
    with pytest.raises(DialectError, match="ghost"):
        frontend.compile_model(Sources("x86_64", tmp_path, overlay=overlay, edits=edits), ["main"])


def compile_text(text: str, path: str = "case.py") -> str:
    """Compile all functions of a text that stands alone, as the file at `path` in a model; give the IR as text."""
    sources = Sources("x86_64", model=Path("/nonexistent"), overlay={path: text})
    return irtext.module(frontend.compile_all(sources).module)


def room(text: str) -> str:
    """The path that a case wants to have in the model: a comment `# path: …`."""
    found = re.search(r"^# path: (\S+)$", text, re.MULTILINE)
    return found.group(1) if found else "case.py"


def with_prelude(text: str) -> str:
    """The text after imports of every word that it uses and does not declare."""
    used = sorted(word for word in WORDS if re.search(rf"\b{word}\b", text))
    return PRELUDE.format(words=", ".join(used or ["struct"])) + text


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda p: p.stem)
def test_accepted(case: Path, golden: Golden) -> None:
    """No construct may be lowered differently than before without somebody looking at it."""
    text = case.read_text(encoding="utf-8")
    golden(case.with_suffix(".ir"), compile_text(text, room(text)))


@pytest.mark.parametrize("case", REFUSED, ids=lambda p: p.stem)
def test_refused(case: Path, golden: Golden) -> None:
    """Nothing outside the dialect may pass, and no message may lack its place or what to write instead."""
    text = case.read_text(encoding="utf-8")
    with pytest.raises(frontend.DialectError) as caught:
        compile_text(with_prelude(text), room(text))
    lines = PRELUDE.count("\n")
    error = caught.value
    assert error.file == room(text)
    place = f"{error.line - lines}:{error.column}"  # as in the case itself
    golden(case.with_suffix(".err"), f"{place}: {error.what}; write {error.instead} instead\n")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e[1].strip().split("\n")[0][:40])
def test_documentation(example: tuple[str, str, str]) -> None:
    """The documentation may show nothing that the front end refuses, and no refusal that it does not make so."""
    refused, text, message = example
    if not refused:
        compile_text(with_prelude(text), room(text))
        return
    with pytest.raises(frontend.DialectError) as caught:
        compile_text(with_prelude(text), room(text))
    assert f"{caught.value.what}; write {caught.value.instead} instead" == message.strip()


def test_words() -> None:
    """No word may exist for editors only, or for the front end only."""
    tree = ast.parse(inspect.getsource(lang))
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    names = {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    assert {n for n in functions | names if not n.startswith("_")} - {"T", "F", "Bits"} == WORDS


def test_documentation_names_every_word() -> None:
    """No word may be missing from the documentation."""
    text = (ROOT / "docs" / "dialect.md").read_text(encoding="utf-8")
    assert [word for word in sorted(WORDS) if not re.search(rf"\b{word}\b", text)] == []


def test_words_never_run() -> None:
    """Model sources must not seem to work when somebody executes them."""
    for name in sorted(WORDS):
        function = getattr(lang, name)
        if inspect.isfunction(function):
            kinds = inspect.signature(function).parameters.values()
            needed = sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in kinds)
            with pytest.raises(RuntimeError):
                function(*[0] * needed)
