# SPDX-License-Identifier: GPL-2.0-only
"""A patch must change exactly what it says, or be refused with its name, the hunk and the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptelab.source import PatchError, Sources

LINES = [f"line {n}\n" for n in range(1, 21)]
PATCH = """Subject: mm: change two lines

Said in words, with a - in front of
- a line, and --- in it.
---
 mm/x.py | 2 +-

diff --git a/model/linux/mm/x.py b/model/linux/mm/x.py
--- a/model/linux/mm/x.py
+++ b/model/linux/mm/x.py
@@ -2,3 +2,4 @@ def f
 line 2
-line 3
+line three
+line three and a half
 line 4
@@ -15,3 +16,3 @@ def g
 line 15
-line 16
+line sixteen
 line 17
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory with one file in three places."""
    for path in ("linux/mm/x.py", "linux/include/asm_generic/tlb.py", "linux/arch/arm64/include/asm/tlb.py"):
        file = tmp_path / "model" / path
        file.parent.mkdir(parents=True)
        file.write_text("".join(LINES))
    return tmp_path / "model"


def patched(model: Path, *texts: str) -> str:
    patches = []
    for number, text in enumerate(texts):
        patches.append(model.parent / f"{number}.patch")
        patches[-1].write_text(text)
    text = Sources("x86_64", model, patches=patches).module("mm.x")
    assert text is not None
    return text.text


def expected() -> str:
    lines = list(LINES)
    lines[2] = "line three\nline three and a half\n"
    lines[15] = "line sixteen\n"
    return "".join(lines)


@pytest.mark.parametrize("prefix", ["a/model/", "a/", "model/", ""])
def test_paths(model: Path, prefix: str) -> None:
    """A patch may not depend on where it was made from."""
    text = PATCH.replace("a/model/", prefix).replace("b/model/", prefix.replace("a/", "b/"))
    if not prefix.startswith("a/"):
        text = "\n".join(line for line in text.split("\n") if not line.startswith("diff --git"))
    assert patched(model, text) == expected()


def test_moved(model: Path) -> None:
    """Lines added above may not stop a patch, nor shift where it goes."""
    file = model / "linux/mm/x.py"
    file.write_text("new\n" * 7 + file.read_text())
    assert patched(model, PATCH) == "new\n" * 7 + expected()


def test_several(model: Path) -> None:
    """A second patch must see what the first left."""
    second = (
        PATCH.replace("line three", "line 3").replace("-line 3\n", "-line three\n").replace("+line 3\n", "+line III\n")
    )
    second = (
        second[: second.index("@@ -15")].replace("+line 3 and a half", " line three and a half").replace("-2,3", "-2,4")
    )
    assert "line III\nline three and a half\n" in patched(model, PATCH, second)


def test_new_file(model: Path) -> None:
    """A patch may bring a file of its own."""
    (model / "linux/mm/x.py").unlink()
    assert patched(model, "--- /dev/null\n+++ b/model/linux/mm/x.py\n@@ -0,0 +1,2 @@\n+a\n+b\n") == "a\nb\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PATCH.replace("-line 16", "-line sixty"), "0.patch: hunk 2: does not apply to linux/mm/x.py:16: no line “line sixty” there"),
        (PATCH.replace("mm/x.py", "mm/y.py"), "0.patch: hunk 1: the model has no file linux/mm/y.py"),
        (PATCH.replace("+++ b/model/linux/mm/x.py", "+++ /dev/null"), "0.patch: hunk 1: removes"),
        ("Subject: nothing\n", "0.patch: holds no unified diff"),
    ],
)  # fmt: skip
def test_refused(model: Path, text: str, message: str) -> None:
    """A patch that does not apply must not be applied in part, and must say which hunk it is."""
    with pytest.raises(PatchError) as caught:
        patched(model, text)
    assert message in str(caught.value)


def test_asm(model: Path) -> None:
    """An architecture without a header of its own gets the generic one; no file of another is ever read."""
    for arch, path in (
        ("x86_64", "linux/include/asm_generic/tlb.py"),
        ("arm64", "linux/arch/arm64/include/asm/tlb.py"),
    ):
        found = Sources(arch, model).module("asm.tlb")
        assert found is not None and found.path == path
    assert not any("arm64" in text.path for text in Sources("x86_64", model).texts())
