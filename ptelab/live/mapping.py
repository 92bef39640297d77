# SPDX-License-Identifier: GPL-2.0-only
"""The one mapping of a scenario with real sizes, as `setup` makes it in the model."""

from __future__ import annotations

from typing import Literal, TypeAlias

Behind: TypeAlias = Literal["nothing", "memory", "disk"]
"""What a mapping is of: anonymous memory, a file in memory, or one that wants to know of stores."""


def setup_lines(
    behind: Behind, start: int, pages: int, *, writable: bool, shared: bool, stays_dirty: bool
) -> list[str]:
    """Statements for the mapping of the first of two processes, from page `start` on.

    `stays_dirty`: the file has no disk to go to, so a page that was written stays dirty.
    """
    flags = ["VM_READ", "VM_MAYWRITE"] + ["VM_WRITE"] * writable + ["VM_SHARED"] * shared
    lines = [
        "    setup_mm(at(mm_struct, 0))",
        "    setup_mm(at(mm_struct, 1))",
        "    setup_cpu(0, at(mm_struct, 0))",
        "    setup_task(0, 0, at(mm_struct, 0))",
        "    setup_zero_page()",
    ]
    mapping, offset = "None", start
    if behind != "nothing":
        mapping, offset = "at(address_space, 0)", 0
        lines += [
            f"    setup_file({mapping}, False, {behind == 'memory'})",
            f"    for i in range({pages}):",
            f"        setup_file_page({mapping}, i, at(Folio, i), 1)",
            *(["        at(Folio, i).PG_dirty = True"] if stays_dirty else []),
        ]
    place = f"at(vm_area_struct, 0), at(mm_struct, 0), {start}, {pages}, {mapping}, {offset}"
    return [*lines, f"    setup_vma({place}, {' | '.join(flags)})"]
