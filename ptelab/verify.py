# SPDX-License-Identifier: GPL-2.0-only
"""What every IR module must satisfy.  Consumers rely on it instead of checking again."""

from __future__ import annotations

from collections.abc import Collection

from ptelab import flow, ir, irtext


class VerifyError(Exception):
    """The first thing in a module that is ill-formed: a bug of whoever made the module."""


_BOOL = ir.Type("bool")
_INT = ir.Type("int")
_COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
_ARITHMETIC = {"+", "-", "*", "//", "%", "&", "|", "^", "<<", ">>"}


def verify(module: ir.Module, known: Collection[str] = ()) -> None:
    """Raise VerifyError unless the module is well-formed; `known` are functions that need no look."""
    for name, struct in module.structs.items():
        _struct(module, name, struct)
    for name, function in module.functions.items():
        if name != function.name:
            raise VerifyError(f"function {function.name} is filed under {name}")
        if name not in known:
            _Function(module, function).check()


def _struct(module: ir.Module, name: str, struct: ir.Struct) -> None:
    names = [f.name for f in struct.fields]
    if name != struct.name or len(set(names)) != len(names):
        raise VerifyError(f"struct {name}: misfiled, or a member twice")
    for f in struct.fields:
        if not f.parts or (f.lock and len(f.parts) != 1):
            raise VerifyError(f"struct {name}: member {f.name} has {len(f.parts)} parts")
        for _, kind in f.parts:
            if kind.kind == "ptr" and kind.struct not in module.structs:
                raise VerifyError(f"struct {name}: member {f.name} points to unknown {kind.struct}")


class _Function:
    def __init__(self, module: ir.Module, function: ir.Function) -> None:
        self.module = module
        self.function = function
        self.what: ir.Stmt | ir.Term | None = None

    def fail(self, why: str) -> None:
        shown = ""
        if self.what is not None:
            one = self.what
            text = irtext.terminator(one) if isinstance(one, ir.Term) else irtext.statement(one)
            shown = f"{one.at.file}:{one.at.line}: {text}: "
        raise VerifyError(f"{self.function.name}: {shown}{why}")

    def check(self) -> None:
        f = self.function
        if len(set(f.params)) != len(f.params) or not set(f.params) <= set(f.vars) or not f.blocks:
            self.fail("a parameter twice or without a type, or no blocks")
        for name, kind in f.vars.items():
            if kind.kind == "ptr" and kind.struct not in self.module.structs:
                self.fail(f"{name} points to unknown {kind.struct}")
        for block in f.blocks:
            for stmt in block.stmts:
                self.what = stmt
                self.statement(stmt)
            self.what = block.term
            self.terminator(block.term)

    # -------------------------------------------------------------------------------------- expressions

    def kind(self, e: ir.Expr) -> ir.Type:
        """The kind of an expression; arithmetic on handles is what `at` and `index_of` are made of."""
        if isinstance(e, ir.Const | ir.Param | ir.Self):
            return _INT
        if isinstance(e, ir.Var):
            if e.name not in self.function.vars:
                self.fail(f"unknown variable {e.name}")
            return self.function.vars[e.name]
        if isinstance(e, ir.Not):
            self.boolean(e.a)
            return _BOOL
        if isinstance(e, ir.Select):
            self.boolean(e.cond)
            a, b = self.kind(e.a), self.kind(e.b)
            if "ptr" in (a.kind, b.kind):
                return a if a.kind == "ptr" else b
            return _INT if "int" in (a.kind, b.kind) else _BOOL
        if e.op in ("and", "or"):
            self.boolean(e.a)
            self.boolean(e.b)
            return _BOOL
        a, b = self.kind(e.a), self.kind(e.b)
        if a.kind == "ptr" and b.kind == "ptr" and a.struct != b.struct:
            self.fail(f"{a.struct} and {b.struct} in one expression")
        if e.op in _COMPARISONS:
            return _BOOL
        if e.op not in _ARITHMETIC:
            self.fail(f"unknown operator {e.op}")
        if e.op in ("//", "%") and not isinstance(e.b, ir.Const | ir.Param):
            self.fail("a divisor that is no constant or parameter")
        return _INT

    def boolean(self, e: ir.Expr) -> None:
        if isinstance(e, ir.Select):  # of which a side may be a constant
            self.boolean(e.cond)
            self.boolean(e.a)
            self.boolean(e.b)
        elif self.kind(e).kind != "bool" and e not in (ir.Const(0), ir.Const(1)):
            self.fail(f"{irtext.expr(e)} is no boolean")

    def fits(self, target: ir.Type, e: ir.Expr) -> None:
        """Whether an expression may be given to a variable, part or parameter; handles are integers when computed."""
        given = self.kind(e)
        if target.kind == "bool":
            self.boolean(e)
        elif target.kind == "int" and given.kind == "ptr":
            self.fail(f"{irtext.expr(e)} is a handle, not an integer")
        elif target.kind == "ptr" and (given.kind == "bool" or (given.kind == "ptr" and given.struct != target.struct)):
            self.fail(f"{irtext.expr(e)} is no {target.struct}")

    def receives(self, dsts: tuple[str, ...], kinds: tuple[ir.Type, ...]) -> None:
        if len(dsts) != len(kinds):
            self.fail(f"{len(dsts)} variables for {len(kinds)} values")
        if len(set(dsts)) != len(dsts):
            self.fail("a variable twice")
        for dst, kind in zip(dsts, kinds, strict=True):
            known = self.function.vars.get(dst)
            if known is None:
                self.fail(f"unknown variable {dst}")
            elif known.kind != kind.kind and (known.kind, kind.kind) != ("int", "bool"):
                self.fail(f"{dst} is {irtext.type_(known)}, not {irtext.type_(kind)}")
            elif known.struct != kind.struct:
                self.fail(f"{dst} points to {known.struct}, not {kind.struct}")

    def given(self, kinds: tuple[ir.Type, ...], values: tuple[ir.Expr, ...]) -> None:
        if len(kinds) != len(values):
            self.fail(f"{len(values)} values for {len(kinds)}")
        for kind, value in zip(kinds, values, strict=True):
            self.fits(kind, value)

    # --------------------------------------------------------------------------------------- statements

    def place(self, p: ir.Place, lock: bool = False) -> tuple[ir.Type, ...]:
        """Check a place; the kinds of its parts."""
        if p.struct not in self.module.structs:
            self.fail(f"unknown struct {p.struct}")
        try:
            member = self.module.field(p)
        except KeyError:
            raise VerifyError(f"{self.function.name}: unknown place {p.struct}.{p.field}") from None
        if (p.index is None) != (member.count is None):
            self.fail(f"{p.struct}.{p.field}: an index where there is no array, or none where there is")
        if bool(member.lock) != lock:
            self.fail(f"{p.struct}.{p.field}: a lock used as a value, or a value as a lock")
        handle = self.kind(p.handle)
        if handle.kind == "bool":  # `at(S, index_of(h))` folds to h, so a handle of another pool is well-formed here
            self.fail(f"{irtext.expr(p.handle)} is no {p.struct}")
        if p.index is not None:
            self.fits(_INT, p.index)
        return tuple(kind for _, kind in member.parts)

    def writes(self, p: ir.Place) -> None:
        ghostly = self.module.structs[p.struct].kind == "ghost" or self.module.field(p).ghost
        if self.function.ghost and not ghostly:
            self.fail("a ghost function writes what is no ghost")

    def statement(self, s: ir.Stmt) -> None:
        match s:
            case ir.Assign(dst=dst, value=value):
                self.receives((dst,), (self.function.vars.get(dst, _INT),))
                self.fits(self.function.vars[dst], value)
            case ir.Load(dsts=dsts, place=p):
                self.receives(dsts, self.place(p))
            case ir.Store(place=p, values=values):
                self.given(self.place(p), values)
                self.writes(p)
            case ir.Atomic():
                self.atomic(s)
            case ir.Call():
                self.call(s)
            case ir.Flag(args=labelled):
                self.given(tuple(t for _, t, _ in labelled), tuple(e for _, _, e in labelled))
            case ir.AssertHeld(place=p):
                self.place(p, lock=True)
            case ir.Reach():
                pass
            case ir.Lock() | ir.Wait() | ir.Choose() | ir.New():
                if self.function.ghost:
                    self.fail("not in a ghost function")
                self.active(s)

    def active(self, s: ir.Lock | ir.Wait | ir.Choose | ir.New) -> None:
        match s:
            case ir.Lock(op=op, dst=dst, place=p):
                self.place(p, lock=True)
                kind = self.module.field(p).lock
                if (kind == "spinlock") != op.startswith("spin_"):
                    self.fail(f"{op} of a {kind}")
                if (dst is not None) != op.endswith("trylock"):
                    self.fail("a result of a lock that does not try, or none of one that does")
                if dst is not None:
                    self.receives((dst,), (_BOOL,))
            case ir.Wait(pre=pre, dsts=dsts, place=p, cond=cond):
                for load in pre:
                    self.receives(load.dsts, self.place(load.place))
                    if ir.is_shared(self.module, load.place):
                        self.fail("a second shared load in a wait")
                self.receives(dsts, self.place(p))
                self.boolean(cond)
            case ir.Choose(dst=dst, count=count):
                self.receives((dst,), (_INT,))
                self.fits(_INT, count)
            case ir.New(dst=dst, struct=name):
                if name not in self.module.structs or self.module.structs[name].kind != "stack":
                    self.fail(f"{name} is no stack struct")
                self.receives((dst,), (ir.Type("ptr", struct=name),))

    def atomic(self, s: ir.Atomic) -> None:
        kinds = self.place(s.place)
        self.writes(s.place)
        if s.dsts:
            self.receives(s.dsts, kinds)
        if s.op == "xchg":
            self.given(kinds, s.args)
        elif s.op == "cmpxchg":
            self.given(kinds + kinds, s.args)
        elif len(kinds) != 1 or kinds[0].kind != "int":
            self.fail(f"{s.op} of what is no integer")
        else:
            self.given(kinds, s.args)

    def call(self, s: ir.Call) -> None:
        callee = self.module.functions.get(s.function)
        if callee is None:
            raise VerifyError(f"{self.function.name}: unknown function {s.function}")
        if self.function.ghost and not callee.ghost:
            self.fail("a ghost function calls what takes steps")
        self.given(tuple(callee.vars[name] for name in callee.params), s.args)
        if s.dsts:
            self.receives(s.dsts, callee.results)

    def terminator(self, t: ir.Term) -> None:
        for successor in flow.successors(t):
            if not 0 <= successor < len(self.function.blocks):
                self.fail(f"no block {successor}")
        if isinstance(t, ir.Branch):
            self.boolean(t.cond)
        elif isinstance(t, ir.Return):
            self.given(self.function.results, t.values)
