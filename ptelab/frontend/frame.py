# SPDX-License-Identifier: GPL-2.0-only
"""The state of lowering one function: its blocks, variables and temporaries, and what it may do."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from ptelab import ir
from ptelab.frontend.cfg import Fork, Goto, Label
from ptelab.frontend.declarations import FieldDecl, File, FunctionDecl, StructDecl
from ptelab.frontend.errors import DialectError, refuse
from ptelab.frontend.program import Program
from ptelab.frontend.types import Bool, Int, Ptr, Rec, Tup, Ty, Value, accepts, describe, scalars

X = TypeVar("X")


@dataclass(frozen=True, slots=True)
class Key:
    """A function of the IR: a declaration, or its twin without steps that ghost code calls."""

    decl: FunctionDecl
    ghost: bool


@dataclass(slots=True, eq=False)
class Region:
    """Blocks that were lowered aside, to be entered by a branch; `exit` is where they end."""

    entry: Label
    exit: Label


@dataclass(slots=True)
class Dest:
    """The local variable that an expression is assigned to; its type is that of the first value if not declared."""

    name: str
    type: Ty | None


@dataclass(slots=True)
class Loop:
    again: Label
    out: Label


@dataclass(slots=True, eq=False)
class Frame:
    """Lowering of one function.  Without a function it is the file level, where nothing can be emitted."""

    program: Program
    file: File
    name_of: Callable[[Key], str]
    decl: FunctionDecl | None = None
    ghost: bool = False
    env: dict[str, Value] = field(default_factory=dict)
    vars: dict[str, ir.Type] = field(default_factory=dict)
    labels: list[Label] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    calls: dict[Key, tuple[File, ast.AST]] = field(default_factory=dict)
    on_return: Callable[[ast.AST, tuple[ir.Expr, ...]], None] = lambda node, values: None  # calls the hooks
    loop_variables: list[str] = field(default_factory=list)
    inferred: set[str] = field(default_factory=set)  # loop variables whose type only the loops give
    discarded: ast.AST | None = None  # the call that is a statement
    depth: int = 0  # how many expressions the one that is lowered lies within
    eager: bool = False  # lowering the condition of a wait: no branches
    inlining: tuple[FunctionDecl, ...] = ()
    inlined: bool = False  # the body of another function has become part of this one
    _free: dict[ir.Type, list[str]] = field(default_factory=dict)
    _used: list[str] = field(default_factory=list)
    _cur: Label | None = None
    _temps: int = 0

    def refuse(self, node: ast.AST, what: str, instead: str) -> DialectError:
        """The error for a construct of the file that is being lowered."""
        return refuse(self.file.name, node, what, instead)

    @property
    def is_setup(self) -> bool:
        """Whether this builds the initial state, so that it may write anything."""
        return (
            self.file.room == "setup"
            or self.file.text.path.endswith("/boot.py")
            or (
                self.decl is not None
                and self.decl.name == "setup"
                and self.file.text.path in self.program.sources.overlay
            )
        )

    # ------------------------------------------------------------------------------------------- blocks

    @property
    def cur(self) -> Label:
        """The block that statements go to."""
        assert self._cur is not None
        return self._cur

    def start(self, label: Label) -> None:
        """Let the following statements go to a new block."""
        self.labels.append(label)
        self._cur = label

    def resume(self, label: Label) -> None:
        """Let the following statements go to the end of a block that was begun before."""
        self._cur = label

    def callee(self, node: ast.AST, key: Key) -> str:
        """The name of a function that is called; notes that it is needed, and where the call is."""
        self.calls.setdefault(key, (self.file, node))
        return self.name_of(key)

    def emit(self, node: ast.AST, stmt: ir.Stmt) -> None:
        """Add a statement."""
        if self._cur is None:
            raise self.refuse(node, "an access or a call at file level", "it in a function")
        self._cur.stmts.append(stmt)

    def goto(self, node: ast.AST, to: Label) -> None:
        """End the block with a jump."""
        if self.cur.term is None:
            self.cur.term = Goto(self.file.at(node), to)

    def fork(self, node: ast.AST, cond: ir.Expr, then: Label, orelse: Label) -> None:
        """End the block with a branch."""
        if self.cur.term is None:
            self.cur.term = Fork(self.file.at(node), cond, then, orelse)

    def leave(self, term: ir.Return) -> None:
        """End the block with a return; what follows is a block that nothing leads to."""
        self.cur.term = term
        self.start(Label())

    def aside(self, lower: Callable[[], X]) -> tuple[X, Region | None]:
        """Lower something into blocks of its own; None for the region when it emitted nothing."""
        if self._cur is None or self.eager:
            return lower(), None
        before = self._cur
        entry = Label()
        self.start(entry)
        result = lower()
        region = None
        if self._cur is entry and not entry.stmts:
            self.labels.pop()
        else:
            region = Region(entry, self._cur)
        self._cur = before
        return result, region

    # ---------------------------------------------------------------------------------------- variables

    def temp(self, kind: ir.Type) -> str:
        """A variable that lives until the end of the statement."""
        free = self._free.setdefault(kind, [])
        if free:
            name = free.pop()
        else:
            self._temps += 1
            name = f"%{self._temps}"
            self.vars[name] = kind
        self._used.append(name)
        return name

    def temps(self, node: ast.AST, ty: Ty) -> tuple[str, ...]:
        """Temporaries for the parts of a value."""
        if isinstance(ty, Int) and ty.bound is None:
            raise self.refuse(node, "an integer whose size nothing says", "an assignment to a variable with a type")
        return tuple(self.temp(kind) for _, kind in scalars(ty))

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Temporaries made inside are free again afterwards."""
        outer, self._used = self._used, []
        yield
        for name in reversed(self._used):
            self._free[self.vars[name]].append(name)
        self._used = outer

    def declare(self, node: ast.AST, name: str, ty: Ty) -> Value:
        """Give a local variable its type; every later declaration must agree."""
        known = self.env.get(name)
        if known is not None:
            if known.type != ty:
                raise self.refuse(
                    node, f"“{name}” was {describe(known.type)} of another type before", "a second variable"
                )
            return known
        if isinstance(ty, Tup):
            raise self.refuse(node, f"several values for “{name}”", f"as many variables, “{name}, … =”")
        if not isinstance(ty, Bool | Int | Ptr | Rec):
            raise self.refuse(node, f"a variable that is {describe(ty)}", "the type of its value after a colon")
        if isinstance(ty, Int) and ty.bound is None:
            raise self.refuse(
                node, f"the integer variable “{name}” has no type", f"“{name}: u8 = …” where it is first set"
            )
        names = tuple(f"{name}.{suffix}" if suffix else name for suffix, _ in scalars(ty))
        self.vars.update(zip(names, (kind for _, kind in scalars(ty)), strict=True))
        value = self.env[name] = Value(ty, tuple(ir.Var(n) for n in names))
        return value

    def widen(self, node: ast.AST, name: str, bound: int | str | None) -> Value:
        """Declare a loop variable; one that only loops declare takes the largest of their types."""
        known = self.env.get(name)
        if known is not None and name in self.inferred and isinstance(known.type, Int) and known.type.bound != bound:
            if not (isinstance(known.type.bound, int) and isinstance(bound, int)):
                raise self.refuse(node, f"“{name}” as variable of loops over different things", "a second variable")
            largest = max(known.type.bound, bound)
            self.vars[name] = ir.Type("int", largest)
            known = self.env[name] = Value(Int(largest), known.parts)
        if known is None:
            known = self.declare(node, name, Int(bound))
            self.inferred.add(name)
        return known

    def take(self, node: ast.AST, ty: Ty, into: Dest | None) -> tuple[str, ...]:
        """Where an access or a call puts its result: the variable assigned to if that fits, or temporaries."""
        if into is None:
            return self.temps(node, ty)
        if into.type is None:
            into.type = self.declare(node, into.name, ty).type
        if not accepts(into.type, ty):
            raise self.refuse(
                node, f"{describe(ty)} where “{into.name}” is {describe(into.type)}", "a value of its type"
            )  # fmt: skip
        return variables(self.env[into.name])

    # ---------------------------------------------------------------------------------------- accesses

    def member(self, node: ast.Attribute, struct: StructDecl) -> FieldDecl:
        """The declaration of the member that an attribute names."""
        found = self.program.fields(struct).get(node.attr)
        if found is None:
            raise self.refuse(node, f"struct {struct.name} has no member “{node.attr}”", "a member that it declares")
        return found

    def check_access(self, node: ast.AST, struct: StructDecl, member: FieldDecl, write: bool) -> None:
        """Ghosts watch the system and may not change it; the system may not see the ghosts."""
        ghostly = struct.kind == "ghost" or member.ir.ghost
        if self.is_setup:
            return
        if ghostly and not self.ghost:
            verb = "writes" if write else "reads"
            raise self.refuse(
                node, f"code of the system {verb} the ghost {struct.name}.{member.name}", "a @ghost function"
            )
        if self.ghost and write and not ghostly:
            what = f"a ghost function writes {struct.name}.{member.name}, which is no ghost"
            if self.decl is not None and not self.decl.ghost:
                what = f"“{self.decl.name}” is called by a ghost function and writes {struct.name}.{member.name}"
            raise self.refuse(node, what, "Ghost[…] as its type, or a function that writes nothing")

    def forbid_in_ghost(self, node: ast.AST, word: str) -> None:
        """Refuse what takes a step or a choice where there are none."""
        if self.ghost:
            raise self.refuse(node, f"{word} in a ghost function or what it calls", "it in code of the system")


def variables(value: Value) -> tuple[str, ...]:
    """The names of the variables that a local is made of."""
    return tuple(part.name for part in value.parts if isinstance(part, ir.Var))


def constant(program: Program, file: File, node: ast.expr) -> Value:
    """The value of an expression at file level."""
    from ptelab.frontend.expressions import value

    return value(Frame(program, file, lambda key: key.decl.name), node)
