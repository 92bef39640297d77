# SPDX-License-Identifier: GPL-2.0-only
"""The front end: model sources in, an IR module out, or one located error."""

from __future__ import annotations

from collections.abc import Sequence

from ptelab.frontend import lower
from ptelab.frontend.errors import DialectError
from ptelab.frontend.lower import Compiled, Root
from ptelab.frontend.program import resolving
from ptelab.source import Sources
from ptelab.verify import verify

__all__ = ["Compiled", "DialectError", "Root", "compile_all", "compile_model", "compile_program"]


def compile_model(sources: Sources, roots: Sequence[str]) -> Compiled:
    """Lower all that the roots need.  A root is 'module:function', or a plain name in the first overlay."""
    with resolving():
        compiled = lower.compile_model(sources, roots)
    verify(compiled.module, compiled.known)
    return compiled


def compile_all(sources: Sources) -> Compiled:
    """Lower every function of every file, so that nothing broken hides where no test goes."""
    with resolving():
        compiled = lower.compile_all(sources)
    verify(compiled.module)
    return compiled


def compile_program(sources: Sources) -> Compiled:
    """Lower a program that declares its threads itself: the file that is the first overlay."""
    with resolving():
        compiled = lower.compile_program(sources)
    verify(compiled.module)
    return compiled
