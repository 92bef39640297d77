# SPDX-License-Identifier: GPL-2.0-only
"""The types of the dialect, and how a value of one is taken apart into the scalars of the IR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ptelab import ir

if TYPE_CHECKING:
    from ptelab.frontend.declarations import RecordDecl, StructDecl


@dataclass(frozen=True, slots=True)
class Bool:
    """True or False."""


@dataclass(frozen=True, slots=True)
class Int:
    """0 … bound; without a bound it is what arithmetic or a literal gives, which no variable can have."""

    bound: int | str | None
    enum: str = ""


@dataclass(frozen=True, slots=True)
class Ptr:
    """A handle of a struct, or None."""

    struct: StructDecl


@dataclass(frozen=True, slots=True)
class Rec:
    """A NamedTuple, by value."""

    decl: RecordDecl


@dataclass(frozen=True, slots=True)
class LockType:
    """A lock: a member that only the lock primitives touch."""

    kind: str  # spinlock, rwsem


@dataclass(frozen=True, slots=True)
class Arr:
    """A member with several elements."""

    element: Bool | Int | Ptr | Rec | LockType
    count: int | str


@dataclass(frozen=True, slots=True)
class Nothing:
    """The literal None, which is of any handle type; as a result: no value."""


@dataclass(frozen=True, slots=True)
class Tup:
    """Several results of a function."""

    items: tuple[Ty, ...]


Ty: TypeAlias = Bool | Int | Ptr | Rec | LockType | Arr | Nothing | Tup

BOOL = Bool()
NOTHING = Nothing()
INT = Int(None)
IR_BOOL = ir.Type("bool")


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression is: its type, and one pure IR expression per scalar part."""

    type: Ty
    parts: tuple[ir.Expr, ...]

    @property
    def expr(self) -> ir.Expr:
        """The expression of a value that has one part."""
        return self.parts[0]


def scalars(ty: Ty) -> tuple[tuple[str, ir.Type], ...]:
    """The parts of a variable or member of this type: suffixes ('' for a scalar) and scalar types."""
    if isinstance(ty, Bool):
        return (("", IR_BOOL),)
    if isinstance(ty, Int):
        assert ty.bound is not None
        return (("", ir.Type("int", ty.bound)),)
    if isinstance(ty, Ptr):
        return (("", ir.Type("ptr", struct=ty.struct.name)),)
    if isinstance(ty, Rec):
        return ty.decl.parts
    if isinstance(ty, Tup):
        return tuple((f"{i}.{s}", t) for i, item in enumerate(ty.items) for s, t in scalars(item))
    assert isinstance(ty, Nothing)
    return ()


def describe(ty: Ty) -> str:
    """The type in words, for messages."""
    if isinstance(ty, Bool):
        return "a bool"
    if isinstance(ty, Int):
        return f"of type {ty.enum}" if ty.enum else "an integer"
    if isinstance(ty, Ptr):
        return f"a {ty.struct.name}"
    if isinstance(ty, Rec):
        return f"a {ty.decl.name}"
    if isinstance(ty, LockType):
        return "a lock"
    if isinstance(ty, Arr):
        return "an array"
    if isinstance(ty, Tup):
        return "several values"
    return "None"


def accepts(target: Ty, value: Ty) -> bool:
    """Whether a variable, member or parameter of type `target` can be given a value of type `value`.

    Integers of any size go into each other: whether the value fits is found at run time.  A bool is an integer, as in
    Python; an integer is no bool.
    """
    if isinstance(target, Int):
        return isinstance(value, Int | Bool)
    if isinstance(target, Ptr):
        return isinstance(value, Nothing) or (isinstance(value, Ptr) and value.struct is target.struct)
    if isinstance(target, Rec):
        return isinstance(value, Rec) and value.decl is target.decl
    return isinstance(target, Bool) and isinstance(value, Bool)


def join(a: Ty, b: Ty) -> Ty | None:
    """The type that has the values of both, for a conditional expression; None when there is none."""
    if isinstance(a, Int | Bool) and isinstance(b, Int | Bool) and not (isinstance(a, Bool) and isinstance(b, Bool)):
        x, y = (t.bound if isinstance(t, Int) else 1 for t in (a, b))
        if isinstance(x, int) and isinstance(y, int):
            return Int(max(x, y))
        return Int(x if x == y else None)
    if isinstance(a, Nothing):
        return b
    return a if accepts(a, b) else None
