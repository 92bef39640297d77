# SPDX-License-Identifier: GPL-2.0-only
"""The compiled engine's own parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptelab.native import compiler, objects

ANSWER = "define i64 @answer() {\n  ret i64 42\n}\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PTELAB_CACHE", str(tmp_path))
    return tmp_path


def entries(cache: Path) -> list[Path]:
    return list(cache.glob("*.o.z"))


def test_compiled_code_is_kept_and_used_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiler.compile_text(ANSWER, 0).function("answer", 0)() == 42
    assert len(entries(cache)) == 1
    monkeypatch.setattr(objects, "put", lambda name, data: pytest.fail("compiled again"))
    assert compiler.compile_text(ANSWER, 0).function("answer", 0)() == 42


def test_other_text_or_level_is_another_entry(cache: Path) -> None:
    compiler.compile_text(ANSWER, 0)
    compiler.compile_text(ANSWER, 2)
    assert compiler.compile_text(ANSWER.replace("42", "43"), 0).function("answer", 0)() == 43
    assert len(entries(cache)) == 3


def test_damaged_entry_is_compiled_again(cache: Path) -> None:
    compiler.compile_text(ANSWER, 0)
    (entry,) = entries(cache)
    entry.write_bytes(entry.read_bytes()[:-1])
    assert compiler.compile_text(ANSWER, 0).function("answer", 0)() == 42
    assert objects.get(entry.name.removesuffix(".o.z")) is not None


def test_no_cache_and_no_place_for_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.compile_text(ANSWER, 0, keep=False)
    assert not entries(cache)
    (cache / "file").touch()
    for place in ("", str(cache / "file" / "below")):
        monkeypatch.setenv("PTELAB_CACHE", place)
        assert compiler.compile_text(ANSWER, 0).function("answer", 0)() == 42


def test_oldest_entries_go_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.put("a", b"first")
    monkeypatch.setattr(objects, "BYTES_MAX", 2 * entries(cache)[0].stat().st_size)
    objects.put("b", b"other")
    objects.put("c", b"third")
    assert len(entries(cache)) == 2
    assert objects.get("c") == b"third"
