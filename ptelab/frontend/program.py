# SPDX-License-Identifier: GPL-2.0-only
"""All files of a program: loading them through their imports, and finding out what names and annotations mean."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator

from ptelab import ir
from ptelab.frontend.declarations import (
    AliasDecl,
    Builtin,
    ConstDecl,
    Decl,
    EnumDecl,
    FieldDecl,
    File,
    FunctionDecl,
    ImportDecl,
    MemberDecl,
    ParamDecl,
    Parameter,
    RecordDecl,
    Signature,
    StructDecl,
    is_docstring,
    lock_kind,
    parse,
)  # fmt: skip
from ptelab.frontend.errors import refuse
from ptelab.frontend.types import (
    BOOL,
    NOTHING,
    Arr,
    Bool,
    Int,
    LockType,
    Nothing,
    Ptr,
    Rec,
    Tup,
    Ty,
    Value,
    accepts,
    describe,
    scalars,
)  # fmt: skip
from ptelab.source import Sources, Text

_LOCKS = {"spinlock_t": LockType("spinlock"), "rw_semaphore": LockType("rwsem")}
_BITS = {f"u{n}": Int(2**n - 1) for n in (1, 2, 3, 4, 5, 6, 7, 8, 12, 16)}
_TYPE_WORDS = "bool, u1 … u16, a struct, a NamedTuple, an IntEnum or Annotated[int, upto(…)]"
_LOCK_FIELDS: dict[str, tuple[str, ir.Type]] = {"": ("", ir.Type("bool"))}


MODELS_KEPT = 6
_FILES: dict[tuple[str, frozenset[Text]], dict[str, File]] = {}
"""By architecture and all texts of a model: its files with what their declarations mean, for test after test; the
model that was used last is the last one."""


def _key(sources: Sources) -> tuple[str, frozenset[Text]] | None:
    """What the meaning of a model's declarations depends on; None where more than one model could be meant."""
    texts = frozenset(text for text in sources.texts() if text.path not in sources.overlay)
    return None if sources.alone or sources.hides() else (sources.arch, texts)


@contextlib.contextmanager
def resolving() -> Iterator[None]:
    """What was left in the middle of an error is not used for the next test."""
    try:
        yield
    except BaseException:
        if _FILES:
            _FILES.popitem()
        raise


class Program:
    """The declarations of every file that was loaded."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.files: dict[str, File] = {}
        self._key = _key(sources)
        self._shared: dict[str, File] = {} if self._key is None else _FILES.pop(self._key, {})
        if self._key is not None:
            _FILES[self._key] = self._shared
            while len(_FILES) > MODELS_KEPT:
                del _FILES[next(iter(_FILES))]
        self.structs: dict[str, StructDecl] = {}
        self.params: dict[str, ParamDecl] = {}

    # -------------------------------------------------------------------------------------------- files

    def load(self, text: Text) -> File:
        """Parse a file and all that it imports."""
        if text.path in self.files:
            return self.files[text.path]
        work = [text]
        while work:
            one = work.pop()
            if one.path in self.files:
                continue
            file = self.files[one.path] = self._parsed(one)
            for node in file.tree.body:
                if isinstance(node, ast.ImportFrom) and node.module:
                    imported = self.sources.module(node.module)
                    if imported is not None:
                        work.append(imported)
            for decl in file.names.values():
                if isinstance(decl, StructDecl):
                    self._register(decl)
                elif isinstance(decl, ParamDecl):
                    self.params.setdefault(decl.name, decl)
        return self.files[text.path]

    def _parsed(self, text: Text) -> File:
        if text.path in self.sources.overlay:
            return parse(text)
        if self._key is not None and text not in self._key[1]:
            _FILES.pop(self._key, None)  # a file that is no part of the model: what it means is not in the key
        if text.path not in self._shared:
            self._shared[text.path] = parse(text)
        return self._shared[text.path]

    def _register(self, decl: StructDecl) -> None:
        other = self.structs.setdefault(decl.name, decl)
        if other is not decl:
            raise refuse(
                decl.file.name, decl.node, f"struct “{decl.name}” is declared in {other.file.name} as well",
                "another name, as the pools of a layout go by name",
            )  # fmt: skip

    def lookup(self, file: File, name: str) -> Decl | None:
        """What a name at file level means, imports followed; None when it means nothing."""
        decl = file.names.get(name)
        seen = set()
        while isinstance(decl, ImportDecl):
            if id(decl) in seen:
                raise refuse(
                    file.name, decl.node, f"“{decl.name}” is imported in a circle", "its declaration somewhere"
                )
            seen.add(id(decl))
            text = self.sources.module(decl.module)
            if text is None:
                raise refuse(
                    file.name, decl.node, f"there is no module “{decl.module}”", "the name of a file of the model"
                )
            _check_room(file, decl, text)
            other = self.load(text)
            found = other.names.get(decl.name)
            if found is None:
                raise refuse(file.name, decl.node, f"{text.name} has no “{decl.name}”", "a name that it declares")
            file, decl = other, found
        return decl

    def check_imports(self, file: File) -> None:
        """Refuse imports of what does not exist, used or not."""
        for name, decl in file.names.items():
            if isinstance(decl, ImportDecl):
                self.lookup(file, name)

    # -------------------------------------------------------------------------------------------- types

    def type_of(self, file: File, node: ast.expr) -> Ty:
        """What an annotation means."""
        if isinstance(node, ast.Name):
            return self._named_type(file, node)
        if isinstance(node, ast.Constant) and node.value is None:
            return NOTHING
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            left, right = self.type_of(file, node.left), self.type_of(file, node.right)
            if not (isinstance(left, Ptr) and isinstance(right, Nothing)):
                raise refuse(file.name, node, "a union of types", "“Struct | None”, the only one")
            return left
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            return self._subscript_type(file, node, node.value.id)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            raise refuse(file.name, node, "a type in quotes", "it without quotes; model sources are never executed")
        raise refuse(file.name, node, f"“{ast.unparse(node)}” is no type of the dialect", _TYPE_WORDS)

    def _named_type(self, file: File, node: ast.Name) -> Ty:
        name = node.id
        if name == "bool":
            return BOOL
        if name == "int":
            raise refuse(file.name, node, "an int without a bound", "u1 … u16 or Annotated[int, upto(…)]")
        decl = self.lookup(file, name)
        if isinstance(decl, Builtin):
            if name in _BITS:
                return _BITS[name]
            if name in _LOCKS:
                return _LOCKS[name]
        elif isinstance(decl, StructDecl):
            return Ptr(decl)
        elif isinstance(decl, RecordDecl):
            self.resolve_record(decl)
            return Rec(decl)
        elif isinstance(decl, EnumDecl):
            self.resolve_enum(decl)
            return decl.type
        elif isinstance(decl, AliasDecl):
            if decl.busy:
                raise refuse(decl.file.name, decl.node, f"“{name}” is an alias of itself", "the type that is meant")
            decl.busy = True
            ty = self.type_of(decl.file, decl.node)
            decl.busy = False
            return ty
        elif decl is None:
            raise refuse(
                file.name, node, f"“{name}” is not declared or imported here", f"an import of it, or {_TYPE_WORDS}"
            )
        raise refuse(file.name, node, f"“{name}” is no type", _TYPE_WORDS)

    def _subscript_type(self, file: File, node: ast.Subscript, word: str) -> Ty:
        if word == "tuple":
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            types = tuple(self.type_of(file, item) for item in items)
            for item, ty in zip(items, types, strict=True):
                if not isinstance(ty, Bool | Int | Ptr | Rec):
                    raise refuse(file.name, item, f"a tuple that holds {describe(ty)}", "a tuple of plain values")
            return Tup(types)
        if word == "Annotated" and isinstance(node.slice, ast.Tuple) and len(node.slice.elts) == 2:
            base, extra = node.slice.elts
            if (
                isinstance(base, ast.Name)
                and base.id == "int"
                and isinstance(extra, ast.Call)
                and isinstance(extra.func, ast.Name)
                and extra.func.id == "upto"
                and len(extra.args) == 1
            ):
                return Int(self._bound(file, extra.args[0]))
        if word in ("Array", "Ghost"):
            raise refuse(
                file.name, node, f"{word}[…] elsewhere than as the type of a struct's member", "the type itself"
            )
        raise refuse(file.name, node, f"“{ast.unparse(node)}” is no type of the dialect", _TYPE_WORDS)

    def _bound(self, file: File, node: ast.expr) -> int | str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        return self.size(file, node)

    def size(self, file: File, node: ast.expr) -> int | str:
        """A number or the name of a layout parameter."""
        value = self.constant(file, node)
        if isinstance(value.type, Int):
            if isinstance(value.expr, ir.Const) and value.expr.value >= 0:
                return value.expr.value
            if isinstance(value.expr, ir.Param):
                return value.expr.name
        raise refuse(
            file.name, node, "a size that is neither a number nor a layout parameter", "a number or a parameter"
        )

    def constant(self, file: File, node: ast.expr) -> Value:
        """The value of an expression at file level."""
        from ptelab.frontend.frame import constant  # the lowering of expressions needs this module first

        return constant(self, file, node)

    def constant_value(self, decl: ConstDecl) -> Value:
        """The value of a named constant."""
        if decl.value is None:
            if decl.busy:
                raise refuse(decl.file.name, decl.node, f"the constant “{decl.name}” depends on itself", "a number")
            decl.busy = True
            value = self.constant(decl.file, decl.node)
            if decl.annotation is not None:
                ty = self.type_of(decl.file, decl.annotation)
                if not accepts(ty, value.type):
                    raise refuse(
                        decl.file.name, decl.node, f"{describe(value.type)} where {describe(ty)} is declared",
                        "a value of that type",
                    )  # fmt: skip
                value = Value(ty, value.parts)
            decl.value = value
            decl.busy = False
        return decl.value

    # ------------------------------------------------------------------------------------------ classes

    def fields(self, decl: StructDecl) -> dict[str, FieldDecl]:
        """The members of a struct, resolved when first asked for."""
        if decl.fields is None:
            decl.fields = {}
            for node in _class_body(decl.file, decl.node):
                made = self._field(decl, node)
                if made.name in decl.fields:
                    raise refuse(decl.file.name, node, f"member “{made.name}” is declared twice", "another name")
                decl.fields[made.name] = made
        return decl.fields

    def _field(self, decl: StructDecl, node: ast.AnnAssign) -> FieldDecl:
        file = decl.file
        assert isinstance(node.target, ast.Name)
        annotation = node.annotation
        ghost = False
        if _is_word(annotation, "Ghost"):
            assert isinstance(annotation, ast.Subscript)
            ghost, annotation = True, annotation.slice
        count: int | str | None = None
        if _is_word(annotation, "Array"):
            assert isinstance(annotation, ast.Subscript)
            annotation = annotation.slice
            call = node.value
            if not (isinstance(call, ast.Call) and _is_name(call.func, "array") and len(call.args) == 1):
                raise refuse(file.name, node, "an array without its length", f"{node.target.id}: Array[…] = array(N)")
            count = self.size(file, call.args[0])
        elif node.value is not None:
            raise refuse(
                file.name, node.value, "an initial value of a member", "it in setup; memory is zero at the start"
            )
        ty = self.type_of(file, annotation)
        if not isinstance(ty, Bool | Int | Ptr | Rec | LockType):
            raise refuse(file.name, annotation, f"a member that is {describe(ty)}", _TYPE_WORDS)
        self._check_handles(decl, annotation, ty, ghost)
        if isinstance(ty, LockType) and (decl.kind != "shared" or ghost):
            raise refuse(file.name, annotation, "a lock in memory that is not shared", "it into a @struct")
        parts = (("", ir.Type("bool")),) if isinstance(ty, LockType) else scalars(ty)
        lock = lock_kind(ty)
        assert lock in ("", "spinlock", "rwsem")
        made = ir.Field(node.target.id, parts, count, lock, ghost)  # type: ignore[arg-type]  # asserted above
        return FieldDecl(node.target.id, ty if count is None else Arr(ty, count), made)

    def _check_handles(self, decl: StructDecl, node: ast.expr, ty: Ty, ghost: bool) -> None:
        """Refuse members through which other threads would reach what is private."""
        for _, part in () if isinstance(ty, LockType) else scalars(ty):
            kind = self.structs[part.struct].kind if part.kind == "ptr" else ""
            if kind == "stack" and decl.kind != "stack":
                raise refuse(
                    decl.file.name, node, "a handle of a stack object in memory that outlives it", "a copy of it"
                )
            if kind == "cpu" and decl.kind not in ("cpu", "stack", "ghost") and not ghost:
                raise refuse(
                    decl.file.name, node, "a handle of a CPU's own object in shared memory", "the CPU's number"
                )
            if kind == "ghost" and decl.kind != "ghost" and not ghost:
                raise refuse(decl.file.name, node, "a handle of a ghost outside ghosts", "Ghost[…] around the type")

    def resolve_record(self, decl: RecordDecl) -> None:
        """Find the members and parts of a NamedTuple."""
        if decl.state == "done":
            return
        if decl.state == "busy":
            raise refuse(decl.file.name, decl.node, f"“{decl.name}” contains itself", "a handle of a struct")
        decl.state = "busy"
        parts: list[tuple[str, ir.Type]] = []
        for node in _class_body(decl.file, decl.node):
            assert isinstance(node.target, ast.Name)
            name = node.target.id
            ty = self.type_of(decl.file, node.annotation)
            if not isinstance(ty, Bool | Int | Ptr | Rec):
                raise refuse(decl.file.name, node.annotation, f"a NamedTuple that holds {describe(ty)}", _TYPE_WORDS)
            self._check_zero(decl.file, node, ty)
            start = len(parts)
            parts += [(f"{name}.{suffix}" if suffix else name, part) for suffix, part in scalars(ty)]
            decl.members[name] = MemberDecl(ty, start, len(parts))
        decl.parts = tuple(parts)
        decl.state = "done"

    def _check_zero(self, file: File, node: ast.AnnAssign, ty: Ty) -> None:
        zero = "None" if isinstance(ty, Ptr) else "False" if isinstance(ty, Bool) else "0"
        if isinstance(ty, Rec):
            zero = f"{ty.decl.name}()"
        if node.value is not None:
            value = self.constant(file, node.value)
            if accepts(ty, value.type) and all(part == ir.Const(0) for part in value.parts):
                return
        raise refuse(
            file.name, node, "a member of a NamedTuple whose default is not zero", f"“= {zero}” after its type"
        )

    def resolve_enum(self, decl: EnumDecl) -> None:
        """Find the values of an IntEnum."""
        if decl.values is not None:
            return
        values: dict[str, int] = {}
        for position, node in enumerate(decl.node.body):
            if position == 0 and is_docstring(node):
                continue
            if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)):
                raise refuse(decl.file.name, node, "an IntEnum that holds more than constants", "NAME = number")
            value = self.size(decl.file, node.value)
            if isinstance(value, str):
                raise refuse(decl.file.name, node, "a value of an IntEnum that is no number", "NAME = number")
            values[node.targets[0].id] = value
        if not values:
            raise refuse(decl.file.name, decl.node, f"“{decl.name}” has no values", "NAME = number")
        decl.values = values

    # ---------------------------------------------------------------------------------------- functions

    def signature(self, decl: FunctionDecl) -> Signature:
        """The parameters and the result of a function."""
        if decl.signature is not None:
            return decl.signature
        file, node, args = decl.file, decl.node, decl.node.args
        if args.vararg or args.kwarg or args.kwonlyargs or args.posonlyargs:
            raise refuse(file.name, node, f"“{decl.name}” has starred or keyword-only parameters", "plain parameters")
        params = []
        defaults: list[ast.expr | None] = [None] * (len(args.args) - len(args.defaults)) + list(args.defaults)
        for arg, default in zip(args.args, defaults, strict=True):
            if arg.annotation is None:
                raise refuse(file.name, arg, f"parameter “{arg.arg}” has no type", f"“{arg.arg}: type”")
            ty = self.type_of(file, arg.annotation)
            if not isinstance(ty, Bool | Int | Ptr | Rec):
                instead = "the struct that holds it" if isinstance(ty, LockType) else _TYPE_WORDS
                raise refuse(file.name, arg, f"a parameter that is {describe(ty)}", instead)
            value = None
            if default is not None:
                value = self.constant(file, default)
                if not accepts(ty, value.type):
                    raise refuse(
                        file.name, default, f"{describe(value.type)} as default of “{arg.arg}”, which is "
                        f"{describe(ty)}", "a default of that type",
                    )  # fmt: skip
            params.append(Parameter(arg.arg, ty, value))
        if node.returns is None:
            raise refuse(file.name, node, f"“{decl.name}” does not say what it returns", "“-> None” or “-> type”")
        result = self.type_of(file, node.returns)
        if isinstance(result, LockType | Arr):
            raise refuse(file.name, node.returns, f"a result that is {describe(result)}", _TYPE_WORDS)
        if any(part.kind == "ptr" and self.structs[part.struct].kind == "stack" for _, part in scalars(result)):
            raise refuse(
                file.name, node.returns, "a handle of a stack object as result, which outlives it",
                "a parameter: the caller's own object",
            )  # fmt: skip
        decl.signature = Signature(params, result)
        return decl.signature


def _check_room(file: File, decl: ImportDecl, text: Text) -> None:
    """Generic kernel code reaches the architecture through asm.* and never names the hardware, as in Linux."""
    if file.room != "linux" or file.text.path.startswith("linux/arch/"):
        return
    if decl.module.startswith("arch."):
        raise refuse(file.name, decl.node, f"generic code names “{decl.module}”", "a name from an asm.* header")
    if text.path.startswith("hw/"):
        raise refuse(
            file.name, decl.node, f"kernel code names the hardware, “{decl.module}”", "an instruction in arch code"
        )


def _is_name(node: ast.expr, word: str) -> bool:
    return isinstance(node, ast.Name) and node.id == word


def _is_word(node: ast.expr, word: str) -> bool:
    return isinstance(node, ast.Subscript) and _is_name(node.value, word)


def _class_body(file: File, node: ast.ClassDef) -> list[ast.AnnAssign]:
    """The member declarations of a class."""
    found = []
    for position, item in enumerate(node.body):
        if (position == 0 and is_docstring(item)) or isinstance(item, ast.Pass):
            continue
        if isinstance(item, ast.FunctionDef):
            raise refuse(
                file.name, item, f"class “{node.name}” has a method", "a function that takes it as a parameter"
            )
        if not (isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)):
            raise refuse(file.name, item, f"class “{node.name}” holds more than members", "name: type")
        found.append(item)
    if not found:
        raise refuse(file.name, node, f"class “{node.name}” has no members", "name: type")
    return found
