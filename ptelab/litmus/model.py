# SPDX-License-Identifier: GPL-2.0-only
"""What a model offers to litmus tests, read from its sources: the calls of user.py and where each name comes from."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ptelab.source import SourceError, Sources

PRIVATE = ("user_load", "user_store", "wait_for_fork", "dma_read", "dma_write")
"""What READ_ONCE and WRITE_ONCE on a user address become; columns do not call these by name."""

_DECLARATION = re.compile(r"^(?:class (\w+)|def (\w+)|(\w+)\b[^=\n(]*=)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Signature:
    """A function that a column may call; types as they are written in the model."""

    name: str
    parameters: tuple[tuple[str, str], ...]  # name, type
    required: int
    result: str

    def __str__(self) -> str:
        return f"{self.name}({', '.join(name for name, _ in self.parameters)})"


class Api:
    """The names that a generated module may use."""

    def __init__(self, sources: Sources) -> None:
        self.functions: dict[str, Signature] = {}
        self._where: dict[str, str] = {}  # name → module to import it from
        modules = {f"invariants.{Path(t.path).stem}": t for t in sources.directory_texts("invariants")}
        for module in ("setup", "user"):
            found = sources.module(module)
            if found is None:
                raise SourceError(f"{sources.directory}: the model has no {module}.py")
            modules[module] = found
        for module, text in modules.items():
            try:
                tree = _parsed(text.text)
            except SyntaxError as error:
                raise SourceError(f"{text.name}:{error.lineno}:{error.offset}: {error.msg}") from error
            self._read(module, tree)
        self._sources = sources

    def _read(self, module: str, tree: ast.Module) -> None:
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
                for alias in node.names:
                    self._where.setdefault(alias.name, node.module)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                self._where[node.name] = module
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        self._where[target.id] = module
            if module == "user" and isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                self.functions[node.name] = _signature(node)

    def calls(self) -> list[str]:
        """The calls that a column may make, as a person would write them."""
        return [str(f) for name, f in sorted(self.functions.items()) if name not in PRIVATE]

    def has(self, name: str) -> bool:
        """Whether the name can be imported."""
        return self._find(name) != ""

    # The module to import a name from: what the three files know, else wherever in the kernel it is declared.
    def _find(self, name: str) -> str:
        if name not in self._where:
            found = (t.path for t in self._sources.texts() if t.path.startswith("linux/") and name in _declared(t.text))
            path = next(found, "").removesuffix(".py")
            self._where[name] = re.sub(r"^linux/(?:arch/\w+/include/|include/)?", "", path).replace("/", ".")
        return self._where[name]

    def imports(self, names: Iterable[str]) -> list[str]:
        """The import lines for these names; what the model lacks is left to the front end to refuse."""
        modules: dict[str, set[str]] = {}
        for name in names:
            modules.setdefault(self._find(name) or "user", set()).add(name)
        return [f"from {module} import {', '.join(sorted(found))}" for module, found in sorted(modules.items())]


@functools.lru_cache(maxsize=1024)
def _declared(text: str) -> frozenset[str]:
    """The names of the classes and functions of a file, and what is assigned to at its top."""
    return frozenset(name for names in _DECLARATION.findall(text) for name in names if name)


@functools.lru_cache(maxsize=64)  # a model is read again for every test
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _signature(node: ast.FunctionDef) -> Signature:
    parameters = tuple((a.arg, ast.unparse(a.annotation) if a.annotation else "") for a in node.args.args)
    required = len(parameters) - len(node.args.defaults)
    return Signature(node.name, parameters, required, ast.unparse(node.returns) if node.returns else "")
