# SPDX-License-Identifier: GPL-2.0-only
"""Where the members of all elements lie: a numbering of cells, one scalar each, that both engines share."""

from __future__ import annotations

from dataclasses import dataclass

from ptelab import ir
from ptelab.layout import Layout, LayoutError

CELLS_MAX = 10_000_000
"""No state has more; a slip in a size must not take all the memory of the machine."""


@dataclass(frozen=True, slots=True)
class Column:
    """The cells of one member over all elements of a pool: cell = base + (element * count + index) * parts + part."""

    struct: str
    field: ir.Field
    base: int
    elements: int
    count: int  # array length, or 1
    widths: tuple[int, ...]  # bits of each part

    @property
    def parts(self) -> int:
        return len(self.widths)

    @property
    def cells(self) -> int:
        return self.elements * self.count * self.parts

    def cell(self, element: int, index: int = 0) -> int:
        """The first cell of an element's member (or of one entry of it)."""
        return self.base + (element * self.count + index) * self.parts


class Memory:
    """The columns of all structs of the kinds asked for; `size` cells in all."""

    def __init__(self, layout: Layout, kinds: tuple[ir.StructKind, ...] = ("shared", "cpu", "ghost")) -> None:
        self.columns: dict[tuple[str, str], Column] = {}
        self.size = 0
        for struct in layout.module.structs.values():
            if struct.kind in kinds:
                self.add(layout, struct, layout.pool(struct.name))

    def add(self, layout: Layout, struct: ir.Struct, elements: int) -> None:
        """Append the columns of one pool."""
        for field in struct.fields:
            column = Column(struct.name, field, self.size, elements, layout.count(field), layout.widths(field))
            self.columns[struct.name, field.name] = column
            self.size += column.cells
        if self.size > CELLS_MAX:
            raise LayoutError(f"{elements} objects of {struct.name}: {self.size} cells; write smaller sizes instead")
