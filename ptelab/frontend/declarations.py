# SPDX-License-Identifier: GPL-2.0-only
"""What a file declares, before anything is made of it: names are bound to declarations, bodies stay syntax."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass, field
from typing import TypeAlias

from ptelab import ir
from ptelab.frontend.errors import DialectError, refuse
from ptelab.frontend.types import Arr, Int, LockType, Ty, Value
from ptelab.source import Text

# Names that a model source may import from elsewhere than from the model.
LIBRARY = {
    "typing": {"Annotated", "Final", "NamedTuple", "TypeAlias"},
    "enum": {"IntEnum"},
    "__future__": {"annotations"},
}
STRUCT_KINDS: dict[str, ir.StructKind] = {"struct": "shared", "percpu": "cpu", "onstack": "stack", "ghost": "ghost"}


@dataclass(slots=True, eq=False)
class File:
    """A parsed source file.  `room` is the part of the model it belongs to: linux, hw, stubs, user, setup, …"""

    text: Text
    tree: ast.Module
    room: str
    names: dict[str, Decl] = field(default_factory=dict)
    functions: list[FunctionDecl] = field(default_factory=list)
    ats: dict[int, ir.At] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.text.name

    def at(self, node: ast.AST) -> ir.At:
        """The place of a node, as the IR notes it."""
        line: int = getattr(node, "lineno", 1)
        found = self.ats.get(line)
        if found is None:
            found = self.ats[line] = ir.At(self.text.name, line)
        return found


@dataclass(slots=True, eq=False)
class FieldDecl:
    name: str
    type: Ty
    ir: ir.Field

    @property
    def element(self) -> Ty:
        """The type of what one access moves."""
        return self.type.element if isinstance(self.type, Arr) else self.type


@dataclass(slots=True, eq=False)
class StructDecl:
    file: File
    node: ast.ClassDef
    name: str
    kind: ir.StructKind
    fields: dict[str, FieldDecl] | None = None


@dataclass(slots=True)
class MemberDecl:
    """A member of a record: where its parts are among those of the record."""

    type: Ty
    start: int
    stop: int


@dataclass(slots=True, eq=False)
class RecordDecl:
    file: File
    node: ast.ClassDef
    name: str
    members: dict[str, MemberDecl] = field(default_factory=dict)
    parts: tuple[tuple[str, ir.Type], ...] = ()
    state: str = "new"  # new, busy, done


@dataclass(slots=True, eq=False)
class EnumDecl:
    file: File
    node: ast.ClassDef
    name: str
    values: dict[str, int] | None = None

    @property
    def type(self) -> Int:
        assert self.values is not None
        return Int(max(self.values.values()), self.name)


@dataclass(slots=True, eq=False)
class AliasDecl:
    file: File
    node: ast.expr
    name: str
    busy: bool = False


@dataclass(slots=True, eq=False)
class ConstDecl:
    file: File
    node: ast.expr
    name: str
    annotation: ast.expr | None = None
    value: Value | None = None
    busy: bool = False


@dataclass(slots=True, eq=False)
class ParamDecl:
    file: File
    name: str
    default: int | None


@dataclass(slots=True)
class Parameter:
    name: str
    type: Ty
    default: Value | None


@dataclass(slots=True)
class Signature:
    params: list[Parameter]
    result: Ty


@dataclass(frozen=True, slots=True, eq=False)
class ThreadDecl:
    """What `@thread(copies=…, cpu=…)` or `@daemon(…)` says."""

    node: ast.expr
    daemon: bool
    copies: ast.expr | None
    cpu: ast.expr | None


@dataclass(slots=True, eq=False)
class FunctionDecl:
    file: File
    node: ast.FunctionDef
    name: str
    ghost: bool
    hooks: list[tuple[str, ast.expr]]  # ('on_entry' or 'on_return', what names the function watched)
    thread: ThreadDecl | None = None
    signature: Signature | None = None
    assigned: frozenset[str] | None = None


@dataclass(slots=True, eq=False)
class ImportDecl:
    node: ast.ImportFrom
    module: str
    name: str


@dataclass(slots=True, eq=False)
class Builtin:
    """A word of the language."""

    name: str


Decl: TypeAlias = (
    StructDecl | RecordDecl | EnumDecl | AliasDecl | ConstDecl | ParamDecl | FunctionDecl | ImportDecl | Builtin
)


# Tests that run one after the other share most files; nothing changes a tree.
@functools.lru_cache(maxsize=1024)
def _tree(text: str, name: str) -> ast.Module:
    tree = ast.parse(text, name)
    if not text.isascii():
        _check_names(tree, name)
    return tree


def _check_names(tree: ast.Module, file: str) -> None:
    for node in ast.walk(tree):
        for where in ("id", "name", "attr", "arg"):
            word = getattr(node, where, None)
            if isinstance(word, str) and not word.isascii():
                raise refuse(file, node, f"the name “{word}”", "one of the letters a to z, digits and _")


def parse(text: Text) -> File:
    """The declarations of one file."""
    try:
        tree = _tree(text.text, text.name)
    except SyntaxError as error:
        raise DialectError(
            text.name, error.lineno or 1, error.offset or 1, f"not Python: {error.msg}", "valid Python"
        ) from None
    except (ValueError, RecursionError, MemoryError):  # a zero byte; brackets in brackets in brackets
        raise DialectError(text.name, 1, 1, "not Python that can be read", "valid Python") from None
    first = text.path.split("/")[0].removesuffix(".py")
    file = File(text, tree, first)
    for position, node in enumerate(tree.body):
        if position == 0 and is_docstring(node):
            continue
        _declare(file, node)
    return file


def is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is a string and nothing else."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _declare(file: File, node: ast.stmt) -> None:
    if isinstance(node, ast.ImportFrom):
        _declare_import(file, node)
    elif isinstance(node, ast.FunctionDef):
        function = _function(file, node)
        _bind(file, node, node.name, function)
        file.functions.append(function)
    elif isinstance(node, ast.ClassDef):
        _bind(file, node, node.name, _class(file, node))
    elif isinstance(node, ast.Assign):
        if len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
            raise refuse(file.name, node, "an assignment at file level that names no single constant", "NAME = value")
        _bind(file, node, node.targets[0].id, _constant(file, node.targets[0].id, node.value, None))
    elif isinstance(node, ast.AnnAssign):
        _declare_annotated(file, node)
    elif isinstance(node, ast.Import):
        raise refuse(file.name, node, "“import M”", "“from M import name”")
    elif isinstance(node, ast.AsyncFunctionDef):
        raise refuse(file.name, node, "an async function", "a plain function; every thread is concurrent already")
    else:
        raise refuse(file.name, node, "a statement at file level that declares nothing", "it in a function")


def _bind(file: File, node: ast.AST, name: str, decl: Decl) -> None:
    if name in file.names:
        raise refuse(file.name, node, f"“{name}” is declared twice in this file", "a second name")
    file.names[name] = decl


def _declare_import(file: File, node: ast.ImportFrom) -> None:
    if node.level or node.module is None:
        raise refuse(file.name, node, "a relative import", "the module's full name")
    for alias in node.names:
        if alias.name == "*":
            raise refuse(file.name, node, "“import *”", "the names that are used")
        if alias.asname:
            raise refuse(file.name, node, f"“{alias.name} as {alias.asname}”", "the name itself")
        known = LIBRARY.get(node.module)
        if known is not None:
            if alias.name not in known:
                raise refuse(
                    file.name, node, f"“{alias.name}” of module {node.module}", f"one of {', '.join(sorted(known))}"
                )
            if node.module != "__future__":
                _bind(file, node, alias.name, Builtin(alias.name))
        elif node.module == "ptelab.lang":
            if alias.name not in WORDS:
                raise refuse(file.name, node, f"ptelab.lang has no “{alias.name}”", "a name that docs/dialect.md lists")
            _bind(file, node, alias.name, Builtin(alias.name))
        else:
            _bind(file, node, alias.name, ImportDecl(node, node.module, alias.name))


def _declare_annotated(file: File, node: ast.AnnAssign) -> None:
    if not isinstance(node.target, ast.Name) or node.value is None:
        raise refuse(file.name, node, "a variable at file level", "a member of a struct")
    name = node.target.id
    if isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias":
        _bind(file, node, name, AliasDecl(file, node.value, name))
    else:
        _bind(file, node, name, _constant(file, name, node.value, node.annotation))


def _constant(file: File, name: str, value: ast.expr, annotation: ast.expr | None) -> Decl:
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "param"):
        if isinstance(annotation, ast.Name) and annotation.id == "Final":
            annotation = None
        return ConstDecl(file, value, name, annotation)
    args = value.args + [k.value for k in value.keywords if k.arg == "default"]
    literal = [a.value if isinstance(a, ast.Constant) else None for a in args]
    if not 1 <= len(args) <= 2 or literal[0] != name:
        raise refuse(
            file.name, value, f"a layout parameter that is not named as “{name}” is", f'{name} = param("{name}")'
        )
    if len(args) == 1:
        return ParamDecl(file, name, None)
    default = literal[1]
    if not isinstance(default, int) or isinstance(default, bool):
        raise refuse(file.name, value, "a default that is no number", f'{name} = param("{name}", 2)')
    return ParamDecl(file, name, default)


def _word(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _class(file: File, node: ast.ClassDef) -> Decl:
    words = [_word(d) for d in node.decorator_list]
    bases = [_word(b) for b in node.bases]
    if node.keywords or len(words) + len(bases) != 1:
        raise refuse(
            file.name, node, f"class “{node.name}” is neither one struct nor one value",
            "@struct, @percpu, @onstack or @ghost above it, or NamedTuple or IntEnum as its only base",
        )  # fmt: skip
    if bases == ["NamedTuple"]:
        return RecordDecl(file, node, node.name)
    if bases == ["IntEnum"]:
        return EnumDecl(file, node, node.name)
    if words and words[0] in STRUCT_KINDS:
        return StructDecl(file, node, node.name, STRUCT_KINDS[words[0]])
    what = f"the base “{bases[0]}”" if bases else f"the decorator “{words[0]}”"
    raise refuse(file.name, node, what, "@struct, @percpu, @onstack, @ghost, NamedTuple or IntEnum")


def _function(file: File, node: ast.FunctionDef) -> FunctionDecl:
    function = FunctionDecl(file, node, node.name, False, [])
    for decorator in node.decorator_list:
        if _word(decorator) == "ghost":
            function.ghost = True
            continue
        word = _word(decorator.func) if isinstance(decorator, ast.Call) else ""
        if not isinstance(decorator, ast.Call) or word not in ("on_entry", "on_return", "thread", "daemon"):
            raise refuse(
                file.name, decorator, "a decorator of a function", "@ghost, @on_entry(f), @on_return(f) or @thread()"
            )
        if word in ("thread", "daemon"):
            function.thread = _thread(file, node, decorator, word)
        elif len(decorator.args) == 1 and not decorator.keywords:
            function.ghost = True
            function.hooks.append((word, decorator.args[0]))
        else:
            raise refuse(file.name, decorator, f"@{word} of other than one function", f"@{word}(f)")
    if function.ghost and function.thread is not None:
        raise refuse(file.name, node, f"“{node.name}” as a ghost that is a thread", "a thread that calls it")
    return function


def _thread(file: File, node: ast.FunctionDef, decorator: ast.Call, word: str) -> ThreadDecl:
    given = {keyword.arg: keyword.value for keyword in decorator.keywords}
    if decorator.args or set(given) - {"copies", "cpu"}:
        raise refuse(file.name, decorator, f"@{word} with other than copies= and cpu=", f"@{word}(copies=2, cpu=0)")
    if node.args.args:
        raise refuse(file.name, node, f"the thread “{node.name}” has parameters", "thread_id(), by which copies differ")
    return ThreadDecl(decorator, word == "daemon", given.get("copies"), given.get("cpu"))


def fields_of(decl: StructDecl) -> dict[str, FieldDecl]:
    """The fields of a struct that is known to have been resolved."""
    assert decl.fields is not None
    return decl.fields


def lock_kind(ty: Ty) -> str:
    """'' for what is no lock."""
    return ty.kind if isinstance(ty, LockType) else ""


# Every word of `ptelab.lang`; a test compares the two.
_WORDS = """
    struct percpu onstack ghost on_entry on_return thread daemon param array upto Ghost Array spinlock_t rw_semaphore
    u1 u2 u3 u4 u5 u6 u7 u8 u12 u16
    READ_ONCE WRITE_ONCE xchg cmpxchg try_cmpxchg atomic_read atomic_set atomic_inc atomic_dec atomic_add atomic_sub
    atomic_inc_return atomic_dec_return atomic_add_return atomic_sub_return atomic_dec_and_test atomic_or atomic_andnot
    atomic_fetch_or atomic_fetch_andnot test_bit set_bit clear_bit test_and_set_bit test_and_clear_bit
    spin_lock spin_trylock spin_unlock down_read down_read_trylock up_read down_write down_write_trylock up_write
    downgrade_write lockdep_assert_held lockdep_assert_held_read lockdep_assert_held_write
    wait_until choose pool at index_of nr new this_cpu this_thread per_cpu cpu_id thread_id flag reach
"""
WORDS = frozenset(_WORDS.split())
