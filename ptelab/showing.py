# SPDX-License-Identifier: GPL-2.0-only
"""A function of the model for people: its source as written, and the IR that it becomes."""

from __future__ import annotations

import ast
import difflib

from ptelab import frontend, irtext
from ptelab.checking import Options
from ptelab.source import SourceError, Sources, Text


def show_function(name: str, options: Options) -> str:
    """Source and IR of every function of that name.  SourceError when there is none."""
    sources = Sources(options.arch, options.model, patches=options.patches)
    found: list[tuple[Text, ast.FunctionDef]] = []
    names: list[str] = []
    for text in sources.texts():
        try:
            tree = ast.parse(text.text)
        except SyntaxError as error:
            raise SourceError(f"{text.name}:{error.lineno}:{error.offset}: {error.msg}") from error
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                names.append(node.name)
                if node.name == name:
                    found.append((text, node))
    if not found:
        near = difflib.get_close_matches(name, names, 3) or ["the name of a function in the model"]
        raise SourceError(f"{name}: the model has no such function; write {' or '.join(near)} instead")
    compiled = frontend.compile_all(sources)
    blocks: list[str] = []
    for text, node in found:
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        source = "\n".join(text.text.splitlines()[first - 1 : node.end_lineno])
        blocks.append(f"{text.name}:{node.lineno}\n\n{source}")
        for function, (path, original) in compiled.names.items():
            if (path, original) == (text.path, name):
                blocks.append(irtext.function(compiled.module.functions[function]))
    return "\n\n".join(blocks)
