# SPDX-License-Identifier: GPL-2.0-only
"""The compiled engine's own parts."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from ptelab.native import compiler, explorer, memory, objects, store

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


@pytest.mark.parametrize(
    "gaps",
    [[], [(5, 7)], [(3, 9), (12, 14)], [(2, 6), (8, 10)], [(9, 14)], [(0, 14)], [(1, 4)], [(7, 9), (1, 4), (5, 6)]],
)
def test_records_fill_the_gaps_that_workers_leave(gaps: list[tuple[int, int]]) -> None:
    """No record may be lost when a level is made dense, nor a gap be taken for one."""
    kept = object.__new__(store.Store)
    kept.control, kept.workers, kept._gaps = memory.Words(explorer.CONTROL_WORDS), [], list(gaps)
    kept.meta, kept.queue, kept.highs = memory.Map(4096), memory.Map(4096), memory.Map(4096)
    kept.control[explorer.END], kept.control[explorer.HIGH_BITS] = 14, 3
    highs = (ctypes.c_uint16 * 14).from_address(kept.highs.address)
    empty = {record for gap in gaps for record in range(*gap)}
    for record in set(range(14)) - empty:
        kept.meta.put(record, 100 + record)
        kept.queue.put(record, 200 + record)
        highs[record] = 300 + record
    kept.close_gaps()
    end = kept.control[explorer.END]
    rows = [(kept.meta.word(r) - 100, kept.queue.word(r) - 200, highs[r] - 300) for r in range(end)]
    assert sorted(rows) == [(r, r, r) for r in range(14) if r not in empty]
