# SPDX-License-Identifier: GPL-2.0-only
"""The rooms of ARCHITECTURE.md: who may know whom, sizes, names, the form of docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOL = sorted((ROOT / "ptelab").rglob("*.py"))
MODEL = sorted((ROOT / "model").rglob("*.py"))
KERNEL = sorted((ROOT / "model" / "linux").rglob("*.py"))
OTHERS = sorted([*(ROOT / "tests").glob("*.py"), *(ROOT / "tools").glob("*.py")])

FILE_LINES_MAX = 700
FUNCTION_LINES_MAX = 70

# Each room of the tool, and the rooms that it may import.  What is not listed may import nothing of ours.
LAYERS: dict[str, set[str]] = {
    "ir": set(),
    "identity": set(),
    "lang": set(),
    "source": set(),
    "beside": set(),
    "exploration": set(),
    "scenario": {"ir"},
    "irtext": {"ir"},
    "verify": {"ir", "irtext", "flow"},
    "frontend": {"identity", "ir", "lang", "source", "verify", "irtext", "flow"},
    "layout": {"ir"},
    "flow": {"identity", "ir"},
    "link": {"ir", "flow"},
    "footprint": {"ir", "flow", "link", "layout", "scenario"},
    "between": {"flow", "ir"},
    "split": {"between", "flow", "ir", "layout", "link", "reduce", "scenario"},
    "memory": {"ir", "layout"},
    "ample": {"ir", "footprint", "layout", "link", "scenario"},
    "reduce": {"identity", "ir", "link", "layout", "flow", "footprint", "scenario"},
    "values": {"flow", "identity", "ir", "layout", "link"},
    "packing": {"flow", "layout", "link", "memory", "scenario"},
    "loops": {"flow", "ir", "layout"},
    "alike": {"flow", "ir", "layout", "loops"},
    "symmetry": {"alike", "flow", "footprint", "layout", "link", "memory", "packing", "scenario"},
    "machine": {
        "alike",
        "ample",
        "symmetry",
        "ir",
        "layout",
        "link",
        "memory",
        "reduce",
        "scenario",
        "split",
        "values",
    },
    "search": {"machine", "exploration"},
    "native": {
        "ample",
        "ir",
        "layout",
        "link",
        "memory",
        "packing",
        "reduce",
        "scenario",
        "exploration",
        "machine",
        "footprint",
        "flow",
    },
    "trace": {"ir", "exploration", "machine"},
    "lanes": {"ir", "machine", "trace"},
    "bundled": {"source"},
    "litmus": {"ir", "frontend", "source", "scenario", "exploration", "reduce"},
    "programs": {"frontend", "ir", "reduce", "scenario", "source"},
    "checking": {"litmus", "machine", "reduce", "search", "native", "exploration", "scenario", "source"},
    "coverage": {"frontend", "ir", "source"},
    "explaining": {"coverage", "exploration", "flow", "ir", "machine", "scenario", "values"},
    "mutation": {"bundled", "checking", "frontend", "layout", "link", "litmus", "source"},
    "diffing": {"bundled", "checking", "litmus", "machine", "source"},
    "live": {"beside", "bundled", "checking", "frontend", "ir", "litmus", "native", "source"},
    "showing": {"frontend", "irtext", "source", "checking"},
    "export": {"flow", "ir", "layout", "link", "memory", "scenario"},
    "commands": {
        "beside",
        "bundled",
        "checking",
        "coverage",
        "explaining",
        "exploration",
        "export",
        "frontend",
        "lanes",
        "layout",
        "link",
        "litmus",
        "live",
        "machine",
        "programs",
        "reduce",
        "scenario",
        "source",
        "trace",
    },
    "cli": {"*"},
    "__main__": {"cli"},
    "__init__": set(),
}

PACKAGES = {"ptelab": {"lark", "click", "rich", "llvmlite", "whatthepatch"}}
ONLY_IN = {
    "llvmlite": {"native"}, "lark": {"litmus"}, "click": {"cli", "commands"}, "rich": {"cli", "commands"},
    "whatthepatch": {"source"},
}  # fmt: skip


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(node: ast.AST) -> Iterator[ast.FunctionDef]:
    return (n for n in ast.walk(node) if isinstance(n, ast.FunctionDef))


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports; `from ptelab import x` counts as ptelab.x."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "ptelab":
                yield from (f"ptelab.{alias.name}" for alias in node.names)
            else:
                yield node.module


def room(path: Path) -> str:
    return path.relative_to(ROOT / "ptelab").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", TOOL, ids=name)
def test_the_tool_imports_downwards_only(path: Path) -> None:
    # An engine that knew the front end, or litmus an engine, would give a sentence two meanings.
    """No room of the tool may know one above it."""
    allowed = LAYERS[room(path)]
    for module in imports(path):
        if module.startswith("ptelab."):
            target = module.split(".")[1]
            known = "*" in allowed or target in allowed or target == room(path) or target == "__version__"
            assert known, f"{name(path)} may not import {module}"
        else:
            package = module.split(".")[0]
            owners = ONLY_IN.get(package, {room(path)})
            assert room(path) in owners, f"{name(path)} may not import {package}; only {' and '.join(owners)} may"


@pytest.mark.parametrize("path", [*TOOL, *MODEL, *OTHERS], ids=name)
def test_every_file_states_its_licence_and_purpose(path: Path) -> None:
    """No file may lack its licence or say nothing of its purpose."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# SPDX-License-Identifier: GPL-2.0-only\n")
    body = tree(path)
    assert ast.get_docstring(body) or not body.body, f"{name(path)} does not say what it is for"


@pytest.mark.parametrize("path", [*TOOL, *MODEL, *OTHERS], ids=name)
def test_files_and_functions_stay_readable(path: Path) -> None:
    """No file or function may outgrow a reader; a mirrored file is as long as what it mirrors."""
    lines = path.read_text(encoding="utf-8").count("\n")
    assert path in KERNEL or lines <= FILE_LINES_MAX, f"{name(path)} has {lines} lines"
    for f in functions(tree(path)):
        length = (f.end_lineno or f.lineno) - f.lineno + 1
        assert length <= FUNCTION_LINES_MAX, f"{name(path)}: {f.name} has {length} lines"


def test_every_other_text_states_its_licence() -> None:
    """No other text may lack its licence."""
    files = [*ROOT.glob("litmus/*.patch"), ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    files += ROOT.rglob("ptelab/**/*.lark")
    for path in files:
        assert "SPDX-License-Identifier: GPL-2.0-only" in path.read_text(encoding="utf-8"), name(path)


# ----------------------------------------------------------------------------------------------- model


def test_the_tool_never_imports_the_model() -> None:
    # The model has one meaning, that of the IR; CPython's must not become a second one.
    """The model must never be executed by Python."""
    for path in TOOL:
        for module in imports(path):
            assert module.split(".")[0] not in ("model", "linux", "mm", "asm", "hw", "cpu", "stubs", "user"), name(path)


@pytest.mark.parametrize("path", MODEL, ids=name)
def test_the_model_imports_as_linux_includes(path: Path) -> None:
    """No kernel file may reach what its counterpart in Linux could not include."""
    parts = path.relative_to(ROOT / "model").parts
    for module in imports(path):
        first = module.split(".")[0]
        if parts[0] == "linux":
            in_arch = parts[1] == "arch"
            assert first in (
                "linux",
                "asm",
                "asm_generic",
                "mm",
                "kernel",
                "arch",
                "hw",
                "ptelab",
                "typing",
                "enum",
                "stubs",
                "fs",
                "filesystem",
                "config",
                *(("cpu", "smp") if in_arch else ()),
                "__future__",
            ), f"{name(path)} imports {module}"
            if not in_arch:
                assert first not in ("hw", "arch"), f"{name(path)}: generic code reaches the architecture through asm"
            elif first == "arch":
                assert module.split(".")[1] == parts[2], f"{name(path)} names another architecture"
        elif parts[0] == "hw":
            assert first in ("hw", "cpu", "ptelab", "typing", "enum"), f"{name(path)}: hardware knows no kernel"


@pytest.mark.parametrize("path", KERNEL, ids=name)
def test_kernel_files_hold_no_marks_of_the_model(path: Path) -> None:
    """No kernel file may say that it is a model."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("flag", "reach", "choose"), f"{name(path)}:{node.lineno}: {node.func.id}"


def upstream() -> dict[str, tuple[str, set[str]]]:
    found = {}
    for line in (ROOT / "model" / "linux" / "UPSTREAM").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            head, _, names = line.partition(": ")
            mirror, origin = head.rstrip(":").split()
            found[mirror] = origin, set(names.split())
    return found


@pytest.mark.parametrize("path", KERNEL, ids=name)
def test_kernel_names_are_linux_names_at_that_path(path: Path) -> None:
    """No function may stand in a kernel file that Linux does not have there."""
    mirror = str(path.relative_to(ROOT / "model" / "linux"))
    known = upstream()
    assert mirror in known, f"{mirror} is not in UPSTREAM; run tools/upstream.py"
    origin, names = known[mirror]
    assert f"Mirrors {origin} (v7.0)" in (ast.get_docstring(tree(path)) or "")
    functions = [f for f in tree(path).body if isinstance(f, ast.FunctionDef)]
    ours = [f.name for f in functions if "Differs: Linux has it in" not in (ast.get_docstring(f) or "")]
    strangers = [f for f in ours if f not in names]
    assert not strangers, f"{origin} has no {', '.join(strangers)}"


@pytest.mark.parametrize("path", MODEL, ids=name)
def test_docstrings_of_the_model_have_the_agreed_form(path: Path) -> None:
    """No function of the model may lack a docstring of the agreed form."""
    body = tree(path)
    for node in [*body.body]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            text = ast.get_docstring(node)
            assert text, f"{name(path)}:{node.lineno}: {node.name} has no docstring"
            first = text.splitlines()[0]
            assert first.endswith((".", "?", ":")), f"{name(path)}:{node.lineno}: a docstring is sentences"
            assert not re.search(r"^\s*(:param|Args:|Returns:|@param)", text, re.MULTILINE), (
                f"{name(path)}: {node.name}"
            )


# ----------------------------------------------------------------------------------------------- texts


def test_no_text_promises_work() -> None:
    # A note of what is missing belongs in the limits table, where its reader looks.
    """No text may promise work instead of saying what is."""
    pattern = re.compile(r"\b(TODO|FIXME|XXX)\b")
    for path in [*TOOL, *MODEL, *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("litmus/*")]:
        assert not pattern.search(path.read_text(encoding="utf-8")), name(path)


def test_every_dependency_has_its_reason() -> None:
    """No dependency may come without its reason."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    reasons = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        package = re.split(r"[<>=~!]", line)[0]
        assert f"`{package}`" in reasons, f"docs/decisions.md does not say why {package} is needed"
