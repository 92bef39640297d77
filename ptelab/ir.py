# SPDX-License-Identifier: GPL-2.0-only
"""The intermediate representation: what the front end makes of the model, and what every consumer executes.

A module is a set of struct types and functions.  A function is a list of basic blocks over typed local variables; the
expressions are pure (they read locals, constants and layout parameters only), so that every access to memory is a
statement of its own.  A statement that accesses a *shared* struct is a step (see `is_step`).  Sizes are never in the
IR: the number of elements of a pool, the length of an array and the bound of an integer may be names of layout
parameters, to which a scenario gives values.

A handle (pointer) is an integer: 0 is None, i + 1 is element i of the struct's pool.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

# ------------------------------------------------------------------------------------------------ types


@dataclass(frozen=True, slots=True)
class Type:
    """A scalar: 'bool', 'int' (0 … bound, rounded up to whole bits) or 'ptr' (a handle into a struct's pool)."""

    kind: Literal["bool", "int", "ptr"]
    bound: int | str = 0  # int: the largest value, or the name of the layout parameter that holds it
    struct: str = ""  # ptr: the struct pointed to


@dataclass(frozen=True, slots=True)
class Field:
    """A member of a struct: one scalar, a record of scalars that is read and written as one, or an array of either."""

    name: str
    parts: tuple[tuple[str, Type], ...]  # one part named "" for a scalar; a NamedTuple has one part per member
    count: int | str | None = None  # array length, or the name of the layout parameter that holds it
    lock: Literal["", "spinlock", "rwsem"] = ""
    ghost: bool = False  # bookkeeping of the invariants: accessing it is never a step


StructKind: TypeAlias = Literal["shared", "cpu", "stack", "ghost"]


@dataclass(frozen=True, slots=True)
class Struct:
    """A pool of like objects.  Its size is the layout parameter `nr_<name>`.

    shared: memory that every thread can reach; each access is a step.  cpu: one element per CPU, reached only from
    that CPU.  stack: objects of one thread (`new`).  ghost: kept by the invariants, no part of the system.
    """

    name: str
    kind: StructKind
    fields: tuple[Field, ...]
    at: At


@dataclass(frozen=True, slots=True)
class At:
    """A place in the model's sources."""

    file: str = ""
    line: int = 0


# ------------------------------------------------------------------------------------------ expressions


@dataclass(frozen=True, slots=True)
class Const:
    value: int


@dataclass(frozen=True, slots=True)
class Param:
    """A layout parameter; `nr_<struct>` is the size of a pool."""

    name: str


@dataclass(frozen=True, slots=True)
class Var:
    name: str


@dataclass(frozen=True, slots=True)
class Self:
    """Who executes: the number of the thread, or of the CPU that it runs on."""

    what: Literal["thread", "cpu"]


@dataclass(frozen=True, slots=True)
class Bin:
    op: str  # + - * // % & | ^ << >> == != < <= > >= and or   (booleans are 0 and 1)
    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True)
class Not:
    a: Expr


@dataclass(frozen=True, slots=True)
class Select:
    cond: Expr
    a: Expr
    b: Expr


Expr: TypeAlias = Const | Param | Var | Self | Bin | Not | Select

# ------------------------------------------------------------------------------------------- statements


@dataclass(frozen=True, slots=True)
class Place:
    """One member of one element: `handle` is the element's handle expression, `index` the array index or None."""

    struct: str
    field: str
    handle: Expr
    index: Expr | None = None


@dataclass(frozen=True, slots=True)
class Assign:
    at: At
    dst: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Load:
    at: At
    dsts: tuple[str, ...]  # one variable per part of the field
    place: Place


@dataclass(frozen=True, slots=True)
class Store:
    at: At
    place: Place
    values: tuple[Expr, ...]  # one per part


@dataclass(frozen=True, slots=True)
class Atomic:
    """Read-modify-write as one access; `dsts` receive the old value.

    op: 'xchg' (args: the new parts), 'cmpxchg' (args: the expected parts, then the new parts), 'add' (args: a
    possibly negative addend), 'or', 'andnot' (args: a mask).  A result that does not fit raises flag bad_kernel_state.
    """

    at: At
    op: Literal["xchg", "cmpxchg", "add", "or", "andnot"]
    dsts: tuple[str, ...]  # empty: the old value is not wanted
    place: Place
    args: tuple[Expr, ...]


LockOp: TypeAlias = Literal[
    "spin_lock", "spin_trylock", "spin_unlock", "down_read", "down_read_trylock", "up_read", "down_write",
    "down_write_trylock", "up_write", "downgrade_write",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lock:
    """`dst` receives 1 or 0 for the trylock forms.  Releasing what the thread does not hold raises bad_kernel_state."""

    at: At
    op: LockOp
    dst: str | None
    place: Place


@dataclass(frozen=True, slots=True)
class Wait:
    """Block until `cond` holds.  When tried: the `pre` loads (free ones only), the load of `place`, then `cond`."""

    at: At
    pre: tuple[Load, ...]
    dsts: tuple[str, ...]
    place: Place
    cond: Expr


@dataclass(frozen=True, slots=True)
class Choose:
    """dst becomes any of 0 … count − 1; with count 0 the thread is blocked here."""

    at: At
    dst: str
    count: Expr


@dataclass(frozen=True, slots=True)
class Call:
    at: At
    dsts: tuple[str, ...]  # empty, or one per result
    function: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Flag:
    """End the run: the invariant `name` does not hold here.  `args` are labelled values for the report."""

    at: At
    name: str
    args: tuple[tuple[str, Type, Expr], ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """Note that the situation `name` was gone through."""

    at: At
    name: str


@dataclass(frozen=True, slots=True)
class AssertHeld:
    """Raise flag lock_assertion unless this thread holds the lock ('held': in any mode)."""

    at: At
    place: Place
    mode: Literal["held", "read", "write"]


@dataclass(frozen=True, slots=True)
class New:
    """dst becomes the handle of a zeroed stack object, which lives until the function returns."""

    at: At
    dst: str
    struct: str


Stmt: TypeAlias = Assign | Load | Store | Atomic | Lock | Wait | Choose | Call | Flag | Reach | AssertHeld | New


@dataclass(frozen=True, slots=True)
class Jump:
    at: At
    to: int


@dataclass(frozen=True, slots=True)
class Branch:
    at: At
    cond: Expr
    then: int
    orelse: int


@dataclass(frozen=True, slots=True)
class Return:
    at: At
    values: tuple[Expr, ...]


Term: TypeAlias = Jump | Branch | Return


@dataclass(slots=True)
class Block:
    stmts: list[Stmt]
    term: Term


@dataclass(slots=True)
class Function:
    """`vars` has every local, parameters included.  Block 0 is the entry.  All locals are 0 at entry.

    A ghost function runs within the step that calls it: its accesses are no steps, and it writes ghost fields only.
    """

    name: str
    params: tuple[str, ...]
    results: tuple[Type, ...]
    vars: dict[str, Type]
    blocks: list[Block]
    ghost: bool
    at: At


@dataclass(slots=True)
class Module:
    structs: dict[str, Struct] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)

    def field(self, place: Place) -> Field:
        """The declaration of the member that a place names; KeyError when there is none."""
        for f in self.structs[place.struct].fields:
            if f.name == place.field:
                return f
        raise KeyError(f"{place.struct}.{place.field}")


_ACCESSES = frozenset((Load, Store, Atomic, Lock))


def places(stmt: Stmt) -> tuple[Place, ...]:
    """The places that a statement accesses itself, free loads of a Wait included."""
    if type(stmt) in _ACCESSES:
        return (stmt.place,)  # type: ignore[union-attr]
    if isinstance(stmt, Wait):
        return (*(load.place for load in stmt.pre), stmt.place)
    return ()


def is_shared(module: Module, place: Place) -> bool:
    """Whether any access to the place, outside ghost functions, is a step."""
    return module.structs[place.struct].kind == "shared" and not module.field(place).ghost


def is_step(module: Module, function: Function, stmt: Stmt) -> bool:
    """Whether the statement is a step: an access to shared state, or a wait; never inside a ghost function."""
    if function.ghost:
        return False
    return isinstance(stmt, Wait) or any(is_shared(module, p) for p in places(stmt))


# ------------------------------------------------------------------------------------------- arithmetic

HUGE = 1 << 62
"""What a product or a shift to the left is that does not fit 64 bits, and one by a negative number: no variable and no
member is wide enough for it (see `Layout.width`)."""


def multiply(a: int, b: int) -> int:
    """a * b as every engine computes it."""
    return _word(a * b)


def shift_left(a: int, b: int) -> int:
    """a << b as every engine computes it."""
    return _word(a << b) if 0 <= b < 64 else HUGE


def shift_right(a: int, b: int) -> int:
    """a >> b as every engine computes it: by a negative number nothing is left."""
    return a >> (b if 0 <= b < 64 else 63)


def _word(value: int) -> int:
    return value if -(1 << 63) <= value < 1 << 63 else HUGE
