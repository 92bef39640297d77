# SPDX-License-Identifier: GPL-2.0-only
"""Which flush and which lock is needed, and which bundled test says so: python tools/necessity.py [PART OF A NAME …]

Each entry takes one thing out of a copy of the model.  Prints a table for docs/necessity.md; the tests are tried in the
order of their size, and the first that fails is named.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from ptelab import bundled, checking
from ptelab.checking import Options
from ptelab.litmus.build import read

MM = "linux/mm/"
Edit = tuple[str, str, str]
"""File of the model, text that stands there once, what replaces it."""

MUTATIONS: dict[str, list[Edit]] = {
    "zap: forced flush under the PTL": [(MM + "memory.py", "            tlb_flush_mmu_tlbonly(tlb)\n", "")],
    "zap: the rest of the forced flush, after the PTL": [
        (MM + "memory.py", "        if force_flush:\n            tlb_flush_mmu(tlb)\n", "")
    ],
    "zap: removal of the deferred rmap": [(MM + "memory.py", "            tlb_flush_rmaps(tlb, vma)\n", "")],
    "zap: PTL": [
        (MM + "memory.py", "start_pte, ptl = pte_offset_map_lock(mm, pmd, addr)",
         "start_pte, _pmdval, ptl = pte_offset_map_rw_nolock(mm, pmd, addr)"),
        (MM + "memory.py", "        pte_unmap_unlock(start_pte, ptl)\n", ""),
    ],
    "zap: marking the folio dirty": [(MM + "memory.py", "        folio_mark_dirty(folio)\n        if tlb_delay", "        if tlb_delay")],
    "gather: flush in tlb_flush_mmu": [(MM + "mmu_gather.py", "    tlb_flush_mmu_tlbonly(tlb)\n    tlb_flush_mmu_free(tlb)", "    tlb_flush_mmu_free(tlb)")],
    "gather: flush before tables are freed": [(MM + "mmu_gather.py", "    tlb_flush_mmu_tlbonly(tlb)\n\n\ndef tlb_remove_table_one", "    pass\n\n\ndef tlb_remove_table_one")],
    "gather: both flushes of tlb_finish_mmu": [
        (MM + "mmu_gather.py", "    tlb_flush_mmu_tlbonly(tlb)\n    tlb_flush_mmu_free(tlb)", "    tlb_flush_mmu_free(tlb)"),
        (MM + "mmu_gather.py", "    tlb_flush_mmu_tlbonly(tlb)\n\n\ndef tlb_remove_table_one", "    pass\n\n\ndef tlb_remove_table_one"),
    ],
    "gather: flush of everything when nested": [(MM + "mmu_gather.py", "    if mm_tlb_flush_nested(tlb.mm):\n", "    if False:\n")],
    "munmap: mmap_lock": [
        (MM + "vma.py", "    mmap_write_lock(mm)\n", ""), (MM + "vma.py", "        mmap_write_unlock(mm)\n    return", "        pass\n    return"),
        (MM + "vma.py", "            mmap_write_unlock(mm)\n", "            pass\n"),
        (MM + "vma.py", "        mmap_write_downgrade(mm)\n", "        pass\n"), (MM + "vma.py", "        mmap_read_unlock(mm)\n", "        pass\n"),
    ],
    "munmap: i_mmap_rwsem for writing": [
        (MM + "vma.py", "    i_mmap_lock_write(mapping)\n", ""), (MM + "vma.py", "    i_mmap_unlock_write(mapping)\n", "")
    ],
    "mkclean: flush of a cleaned entry": [(MM + "pgtable_generic.py", "        flush_tlb_page(vma, address)\n", "        pass\n")],
    "mkclean: i_mmap_rwsem for reading": [
        (MM + "rmap.py", "    i_mmap_lock_read(mapping)\n", ""), (MM + "rmap.py", "    i_mmap_unlock_read(mapping)\n", "")
    ],
    "mkclean: PTL": [],
    "mkclean: marking the folio dirty": [(MM + "page_writeback.py", "    if folio_mkclean(folio) != 0:\n        folio_mark_dirty(folio)\n", "    folio_mkclean(folio)\n")],
    "writeback: folio lock": [("filesystem.py", "    folio_lock(folio)\n", ""), ("filesystem.py", "        folio_unlock(folio)\n        write_block", "        write_block"), ("filesystem.py", "    else:\n        folio_unlock(folio)\n", "")],
    "writeback: wait for the writeback before": [(MM + "page_writeback.py", "        folio_wait_writeback(folio)\n    if not folio_clear", "        pass\n    if not folio_clear")],
    "fault: folio lock around mkwrite and the dirty entry": [],
    "fault: PTL in finish_fault": [],
    "fault: marking the folio dirty": [],
}  # fmt: skip


def special(name: str, model: Path) -> bool:
    """The mutations that are more than a replacement of text that stands once."""
    memory, filemap, walk = (model / MM / f for f in ("memory.py", "filemap.py", "page_vma_mapped.py"))
    match name:
        case "mkclean: PTL":
            text = walk.read_text()
            text = text.replace("locked, lock = pte_offset_map_lock(mm, pvmw.pmd, pvmw.address)",
                                "locked, _pmdval, lock = pte_offset_map_rw_nolock(mm, pvmw.pmd, pvmw.address)")  # fmt: skip
            walk.write_text(text)
            done = model / "linux/include/linux/rmap.py"
            done.write_text(done.read_text().replace("spin_unlock(pvmw.ptl.ptl)", "pass"))
            _import(walk, "mm.pgtable_generic", "pte_offset_map_rw_nolock")
        case "fault: folio lock around mkwrite and the dirty entry":
            text = filemap.read_text()
            head, mark, tail = text.partition("def filemap_page_mkwrite")
            filemap.write_text(
                head
                + mark
                + tail.replace("    folio_lock(folio)\n", "", 1).replace(
                    "        folio_unlock(folio)\n", "        pass\n"
                )
            )
            text = memory.read_text().replace("    lockdep_assert_held(folio.PG_locked)\n", "")
            for function in ("fault_dirty_shared_page", "finish_mkwrite_fault", "do_shared_fault", "wp_page_shared"):
                head, mark, tail = text.partition(f"def {function}(")
                body, following, rest = tail.partition("\n\n\ndef ")
                text = head + mark + body.replace("folio_unlock(folio)", "pass") + following + rest
            memory.write_text(text)
        case "fault: PTL in finish_fault":
            head, mark, tail = memory.read_text().partition("def finish_fault(")
            body, following, rest = tail.partition("\n\n\ndef ")
            body = body.replace("pte, ptl = pte_offset_map_lock(", "pte, _pmdval, ptl = pte_offset_map_rw_nolock(")
            body = body.replace("pte_unmap_unlock(vmf.pte, vmf.ptl)", "pass")
            memory.write_text(head + mark + body + following + rest)
        case "fault: marking the folio dirty":
            head, mark, tail = memory.read_text().partition("def fault_dirty_shared_page(")
            memory.write_text(head + mark + tail.replace("    folio_mark_dirty(folio)\n", "", 1))
        case _:
            return False
    return True


def _import(file: Path, module: str, name: str) -> None:
    text = file.read_text()
    if name not in text.partition("\n\n\n")[0]:
        file.write_text(text.replace(f"from {module} import ", f"from {module} import {name}, ", 1))


def mutate(name: str, model: Path) -> None:
    """Apply one mutation to a copy of the model."""
    if special(name, model):
        return
    for file, old, new in MUTATIONS[name]:
        text = (model / file).read_text(encoding="utf-8")
        if text.count(old) != 1:
            sys.exit(f"{name}: {file} has {text.count(old)} times: {old!r}")
        (model / file).write_text(text.replace(old, new), encoding="utf-8")


def size(path: Path) -> int:
    """States of a test, so that the small ones come first."""
    try:
        return int(json.loads(path.with_suffix(".expected").read_text(encoding="utf-8"))["x86_64"]["states"])
    except (OSError, KeyError):
        return 1 << 40


def main(parts: list[str]) -> None:
    """Try every mutation whose name has one of the parts."""
    print("| without | caught by | how |\n| --- | --- | --- |", flush=True)
    for name in MUTATIONS:
        if parts and not any(part in name for part in parts):
            continue
        with tempfile.TemporaryDirectory() as directory:
            model = Path(directory) / "model"
            shutil.copytree(bundled.directory("model"), model)
            mutate(name, model)
            row = "| — | — |"
            for path in sorted(bundled.litmus_files([]), key=size):
                test = read(path)
                try:
                    _, verdict = checking.check(test, Options(threads=2, model=model, time_s=60))
                except Exception as error:
                    row = f"| — | not tried: {str(error).splitlines()[0]} |"
                    break
                broken = [p for p in verdict.problems if "situation" not in p]
                if verdict.status == "failed" and (broken or verdict.exploration.flags):
                    row = f"| `{test.name}` | {', '.join(sorted(verdict.exploration.flags)) or verdict.result} |"
                    break
            print(f"| {name} {row}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
