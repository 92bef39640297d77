# SPDX-License-Identifier: GPL-2.0-only
"""Situations of reclaim's look at who uses a page."""

from asm.pgtable import ptep_clear_flush_young

from ptelab.lang import on_return, reach


@on_return(ptep_clear_flush_young)
def sometimes_made_old(result: bool) -> None:
    """An entry was young, and is not any more."""
    if result:
        reach("entry_made_old")
