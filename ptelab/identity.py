# SPDX-License-Identifier: GPL-2.0-only
"""What is known about objects that never change, such as functions of the IR, which tests of one model share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

Of = TypeVar("Of")
Found = TypeVar("Found")

KEPT = 4096
"""Objects about which something is remembered; when there are more, all is forgotten."""


def by_identity(function: Callable[[Of], Found]) -> Callable[[Of], Found]:
    """Have a function of one object remember its answers, by the object's identity; the object is kept meanwhile."""
    known: dict[int, tuple[Of, Found]] = {}

    @functools.wraps(function)
    def remembered(of: Of) -> Found:
        entry = known.get(id(of))
        if entry is None:
            found = function(of)
            if len(known) >= KEPT:
                known.clear()
            entry = known[id(of)] = of, found
        return entry[1]

    return remembered
