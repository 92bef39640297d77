# SPDX-License-Identifier: GPL-2.0-only
"""What a litmus file says, before anything is looked up: the parser's result, and the one error of this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Pos:
    """A place in a litmus file; line and column count from 1."""

    line: int
    column: int


class LitmusError(Exception):
    """A litmus file that cannot be used; the text is one line, `file:line:column: what; write … instead`."""

    def __init__(self, file: str, pos: Pos, what: str, instead: str = "") -> None:
        self.file, self.pos = file, pos
        where = f"{file}:{pos.line}:{pos.column}: "
        super().__init__(where + what + (f"; write {instead} instead" if instead else ""))


# ---------------------------------------------------------------------------------------------- header


@dataclass(frozen=True, slots=True)
class Metadata:
    pos: Pos
    key: str
    value: str


# ------------------------------------------------------------------------------------------------ init


@dataclass(frozen=True, slots=True)
class Address:
    """Page number `page` of the mapping `vma`."""

    pos: Pos
    vma: str
    page: int


@dataclass(frozen=True, slots=True)
class PageOf:
    """`PA(f[0])`: the frame that holds a page of a file."""

    pos: Pos
    file: str
    index: int


Value: TypeAlias = int | str | PageOf | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RecordField:
    pos: Pos
    name: str
    value: Value


Record: TypeAlias = tuple[RecordField, ...]


@dataclass(frozen=True, slots=True)
class Declare:
    """`mm_struct m;`, `file f={1};`, `vma x=(…);`"""

    pos: Pos
    type: str
    name: str
    value: Value | Record | None


@dataclass(frozen=True, slots=True)
class Assign:
    """`0:cpu=1;`"""

    pos: Pos
    thread: int
    name: str
    value: Value | Record


@dataclass(frozen=True, slots=True)
class AssignAt:
    """`1:tlb(x)=(…);`"""

    pos: Pos
    thread: int
    name: str
    address: Address
    record: Record


@dataclass(frozen=True, slots=True)
class PteInit:
    """`[PTE(x)]=(…);`"""

    pos: Pos
    address: Address
    record: Record


InitItem: TypeAlias = Declare | Assign | AssignAt | PteInit

# ------------------------------------------------------------------------------------------- processes


@dataclass(frozen=True, slots=True)
class Integer:
    pos: Pos
    value: int


@dataclass(frozen=True, slots=True)
class PageSize:
    pos: Pos


@dataclass(frozen=True, slots=True)
class Name:
    pos: Pos
    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    pos: Pos
    op: str
    a: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    pos: Pos
    op: str
    a: Expression
    b: Expression


@dataclass(frozen=True, slots=True)
class Subscript:
    pos: Pos
    a: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Call:
    pos: Pos
    name: str
    args: tuple[Expression, ...]


Expression: TypeAlias = Integer | PageSize | Name | Unary | Binary | Subscript | Call


@dataclass(frozen=True, slots=True)
class Declaration:
    """`int r0 = …, r1;`: the names, and the values of those that have one."""

    pos: Pos
    type: tuple[str, ...]
    names: tuple[tuple[Name, Expression | None], ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    pos: Pos
    target: Expression
    value: Expression


@dataclass(frozen=True, slots=True)
class Evaluate:
    pos: Pos
    expression: Expression


@dataclass(frozen=True, slots=True)
class If:
    pos: Pos
    condition: Expression
    then: Statement
    orelse: Statement | None


@dataclass(frozen=True, slots=True)
class Block:
    pos: Pos
    statements: tuple[Statement, ...]


Statement: TypeAlias = Declaration | Assignment | Evaluate | If | Block


@dataclass(frozen=True, slots=True)
class Parameter:
    pos: Pos
    type: tuple[str, ...]  # ("char", "__user") or ("struct", "file")
    name: str


@dataclass(frozen=True, slots=True)
class Process:
    pos: Pos
    number: int
    parameters: tuple[Parameter, ...]
    body: Block


# -------------------------------------------------------------------------------------------- condition


@dataclass(frozen=True, slots=True)
class Register:
    pos: Pos
    thread: int
    name: str


@dataclass(frozen=True, slots=True)
class Observe:
    """`disk(f[0])`, `rss(m)`; a page `f[0]` by itself is `observe` with the empty function name: its memory."""

    pos: Pos
    function: str
    name: str
    index: int | None


@dataclass(frozen=True, slots=True)
class PteOf:
    pos: Pos
    address: Address


Location: TypeAlias = Register | Observe | PteOf


@dataclass(frozen=True, slots=True)
class Truth:
    value: bool


@dataclass(frozen=True, slots=True)
class FlagAtom:
    pos: Pos
    name: str


@dataclass(frozen=True, slots=True)
class FaultAtom:
    """`fault(P1)`, `fault(P1,x)`, `fault(P1,x,SIGSEGV)`: an access by the column was refused."""

    pos: Pos
    thread: int
    address: Address | None
    signal: str


@dataclass(frozen=True, slots=True)
class Compare:
    pos: Pos
    location: Location
    op: Literal["=", "!="]
    value: int | str | Record | None  # None: a location used as a truth; a str is the name of an errno


@dataclass(frozen=True, slots=True)
class Not:
    a: Prop


@dataclass(frozen=True, slots=True)
class Connect:
    op: Literal["and", "or", "implies"]
    a: Prop
    b: Prop


Prop: TypeAlias = Truth | FlagAtom | FaultAtom | Compare | Not | Connect


@dataclass(frozen=True, slots=True)
class Condition:
    pos: Pos
    quantifier: Literal["exists", "~exists", "forall"]
    prop: Prop
    text: str  # as written, white space folded


@dataclass(frozen=True, slots=True)
class Litmus:
    """A whole file."""

    file: str
    name: str
    comment: str  # the leading comment, without its frame
    comment_pos: Pos
    metadata: tuple[Metadata, ...]
    init: tuple[InitItem, ...]
    processes: tuple[Process, ...]
    locations: tuple[Location, ...]
    filter: Prop | None
    condition: Condition | None
