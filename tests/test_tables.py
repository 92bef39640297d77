# SPDX-License-Identifier: GPL-2.0-only
"""Tables that are written from the sources."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parent.parent / "tools"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["coverage_table", "litmus_readme"])
def test_tables_say_what_is_there(name: str, golden: Callable[[Path, str], None]) -> None:
    """No table may say what was true of an older model."""
    module = tool(name)
    golden(module.TARGET, module.table())
