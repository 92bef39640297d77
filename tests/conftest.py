# SPDX-License-Identifier: GPL-2.0-only
"""Options of the test run."""

from __future__ import annotations

import fcntl
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ptelab.native import compiler

compiler.VERIFY = True
gc.set_threshold(20_000, 50, 100)  # as in the command: a model is many objects that stay


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite golden files and litmus/*.expected")
    parser.addoption("--exhaustive", action="store_true", help="run also what another test says in much the same way")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what --exhaustive asks for."""
    if not config.getoption("--exhaustive") and not config.getoption("--update"):
        left_out = [item for item in items if item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are rewritten instead of compared."""
    return bool(request.config.getoption("--update"))


@pytest.fixture
def golden(update: bool) -> Callable[[Path, str], None]:
    """Compare a text with a file of the repository, or write the file with --update."""

    def compare(path: Path, text: str) -> None:
        if update:
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path.name} is missing: make update, then read git diff"
        assert text == path.read_text(encoding="utf-8"), f"{path.name} differs: make update, then read git diff"

    return compare


@pytest.fixture
def settings_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No other test that alters settings of the kernel runs meanwhile, in this process or in another."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    with open(shared / "settings.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
