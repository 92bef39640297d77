# SPDX-License-Identifier: GPL-2.0-only
"""The one kind of error of the front end: what is wrong, where, and what to write instead."""

from __future__ import annotations

import ast


class DialectError(Exception):
    """A construct that the dialect does not have, or a use of one that it forbids."""

    def __init__(self, file: str, line: int, column: int, what: str, instead: str) -> None:
        super().__init__(f"{file}:{line}:{column}: {what}; write {instead} instead")
        self.file = file
        self.line = line
        self.column = column
        self.what = what
        self.instead = instead


def refuse(file: str, node: ast.AST, what: str, instead: str) -> DialectError:
    """The error for a node.  Every refusal is made here, so that none lacks a place or a way out."""
    line = getattr(node, "lineno", 1)
    column = getattr(node, "col_offset", 0) + 1
    return DialectError(file, line, column, what, instead)
