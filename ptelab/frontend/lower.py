# SPDX-License-Identifier: GPL-2.0-only
"""From declarations to an IR module: every function that is needed is lowered once."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ptelab import flow, ir
from ptelab.frontend import cfg, hooks, statements
from ptelab.frontend.declarations import (
    AliasDecl,
    ConstDecl,
    EnumDecl,
    File,
    FunctionDecl,
    RecordDecl,
    StructDecl,
    is_docstring,
)  # fmt: skip
from ptelab.frontend.errors import DialectError, refuse
from ptelab.frontend.frame import Frame, Key
from ptelab.frontend.program import Program
from ptelab.frontend.types import Nothing, Ptr, scalars
from ptelab.identity import by_identity
from ptelab.source import Sources

_REACH = re.compile(r'^[^#\n]*\breach\("(\w+)"', re.MULTILINE)
_FLAG = re.compile(r'^[^#\n]*\bflag\(\s*"(\w+)"', re.MULTILINE)
MACHINE_FLAGS = ("bad_kernel_state", "null_dereference", "lock_assertion", "deadlock")


@dataclass(frozen=True, slots=True)
class Root:
    """A thread that a program declares: its function in the IR, how often, and on which CPU."""

    function: str
    daemon: bool
    copies: int | str
    cpu: int | str | None


@dataclass(slots=True)
class Compiled:
    """A module, and what else its consumers ask about the model."""

    module: ir.Module
    param_defaults: dict[str, int]
    situations: set[str]  # every name that reach(…) has anywhere in the model, other architectures included
    flags: set[str]  # every name that flag(…) has, and those that the machine raises
    docs: dict[str, str] = field(default_factory=dict)  # of the functions in the module
    names: dict[str, tuple[str, str]] = field(default_factory=dict)  # IR function: path in the model, name there
    threads: list[Root] = field(default_factory=list)  # of a program
    observed: tuple[str, ...] = ()  # what the results of a program's `final` are
    known: set[str] = field(default_factory=set)  # functions that were lowered for another test, and verified then


def compile_model(sources: Sources, roots: Sequence[str]) -> Compiled:
    """Lower all that the roots need.  A root is 'module:function', or a plain name in the first overlay."""
    lowering = _Lowering(sources)
    overlays = [lowering.load(path) for path in sources.overlay]
    for text in sources.directory_texts("invariants"):
        lowering.program.load(text)
    decls = [lowering.root(root, overlays) for root in roots]
    lowering.run(decls)
    return lowering.compiled()


def compile_program(sources: Sources) -> Compiled:
    """Lower a program: what the threads that the first overlay declares need, its `setup` and its `final`."""
    lowering = _Lowering(sources)
    file = next(lowering.load(path) for path in sources.overlay)
    lowering.check(file)
    threads = [function for function in file.functions if function.thread is not None]
    if not threads:
        raise DialectError(file.name, 1, 1, "there is no thread to run", "“@thread()” above a function")
    ends = [function for function in file.functions if function.name in ("setup", "final")]
    for function in ends:
        if lowering.program.signature(function).params:
            raise refuse(file.name, function.node, f"“{function.name}” has parameters", "it without")
    lowering.run([*threads, *ends])
    compiled = lowering.compiled()
    for function in threads:
        assert function.thread is not None
        of = function.thread
        copies, cpu = (None if e is None else lowering.program.size(file, e) for e in (of.copies, of.cpu))
        name = lowering.name_of(Key(function, False))
        compiled.threads.append(Root(name, of.daemon, 1 if copies is None else copies, cpu))
    compiled.observed = tuple(text for function in ends if function.name == "final" for text in _returned(function))
    return compiled


def _returned(function: FunctionDecl) -> list[str]:
    """What the last statement of a function returns, as it is written there."""
    last = function.node.body[-1]
    value = last.value if isinstance(last, ast.Return) else None
    if value is None:
        return []
    return [ast.unparse(item) for item in (value.elts if isinstance(value, ast.Tuple) else [value])]


def compile_all(sources: Sources) -> Compiled:
    """Lower every function of every file, so that nothing broken hides where no test goes."""
    lowering = _Lowering(sources)
    files = [lowering.program.load(text) for text in sources.texts()]
    for file in files:
        lowering.check(file)
    lowering.run([function for file in files for function in file.functions])
    return lowering.compiled()


_Place: TypeAlias = tuple[str, str, bool]
"""A function of the IR in every program that has its file: the path, its name, and whether it is a ghost."""

_Known: TypeAlias = dict[tuple[_Place, str], tuple[ir.Function, list[tuple[_Place, File, ast.AST]]]]
"""By place and text of the file: a function, and whom it calls where."""

MODELS_KEPT = 12
_MODELS: dict[tuple[str, frozenset[tuple[str, str, str]], frozenset[str]], _Known] = {}
"""By architecture, declarations, and the names that mean something in a test and in the model: what was lowered.

What becomes of a function depends on its own file and on what the others declare, not on the bodies of other functions
(but for those that a wait_until takes in: such functions are lowered each time).
"""


def _place(key: Key) -> _Place:
    return key.decl.file.text.path, key.decl.name, key.ghost


def _stem(decl: FunctionDecl) -> str:
    return decl.file.text.path.removesuffix(".py").rpartition("/")[2]


class _Lowering:
    def __init__(self, sources: Sources) -> None:
        self.program = Program(sources)
        self.functions: dict[Key, ir.Function] = {}
        self.calls: dict[Key, dict[Key, tuple[File, ast.AST]]] = {}
        self.names: dict[Key, str] = {}
        self.hooks: dict[FunctionDecl, list[hooks.Hook]] = {}
        self.uses: dict[str, int] = {}
        self.known: _Known = {}
        self.taken: list[Key] = []  # from `known`
        self.declared: dict[tuple[str, str], FunctionDecl] = {}

    def load(self, path: str) -> File:
        text = self.program.sources.read(path)
        assert text is not None
        return self.program.load(text)

    def root(self, root: str, overlays: list[File]) -> FunctionDecl:
        """The function that a root names."""
        module, _, name = root.rpartition(":")
        if module:
            text = self.program.sources.module(module)
            file = self.program.load(text) if text is not None else None
        else:
            file = overlays[0] if overlays else None
        decl = self.program.lookup(file, name) if file is not None else None
        if not isinstance(decl, FunctionDecl):
            where = file.name if file is not None else module or "the model"
            raise DialectError(where, 1, 1, f"there is no function “{name}” to start from", f"“def {name}() -> None:”")
        return decl

    def run(self, roots: Iterable[FunctionDecl]) -> None:
        """Lower the roots and all that they call."""
        self.hooks = hooks.collect(self.program)
        for file in self.program.files.values():
            for function in file.functions:
                for name in (function.name, f"{_stem(function)}.{function.name}"):
                    self.uses[name] = self.uses.get(name, 0) + 1
        self.known = self._lowered_before()
        keys = [Key(decl, decl.ghost) for decl in roots]
        work = list(reversed(keys))
        while work:
            key = work.pop()
            if key not in self.functions:
                self.functions[key], self.calls[key] = self._lower_once(key)
                work.extend(reversed(self.calls[key]))
        self._check_recursion(keys)

    def _lowered_before(self) -> _Known:
        """What was made of this very model before, for other tests."""
        overlay = self.program.sources.overlay
        model = [file for path, file in self.program.files.items() if path not in overlay]
        others = [file for path, file in self.program.files.items() if path in overlay]
        if any(function.hooks for file in others for function in file.functions):
            return {}  # a test that watches functions of the model
        shared = {name for file in others for f in file.functions if self.uses[name := f.name] > 1}
        declared = frozenset((file.text.path, file.text.name, _declarations(file)) for file in model)
        key = (self.program.sources.arch, declared, frozenset(shared))
        if key not in _MODELS:
            while len(_MODELS) >= MODELS_KEPT:
                del _MODELS[next(iter(_MODELS))]
            _MODELS[key] = {}
        return _MODELS[key]

    def _lower_once(self, key: Key) -> tuple[ir.Function, dict[Key, tuple[File, ast.AST]]]:
        place = (_place(key), key.decl.file.text.text)
        if place in self.known:
            function, called = self.known[place]
            self.taken.append(key)
            return function, {self._key(callee): (file, node) for callee, file, node in called}
        function, f = self._lower(key)
        if key.decl.file.text.path not in self.program.sources.overlay and not f.inlined:
            self.known[place] = (function, [(_place(callee), *where) for callee, where in f.calls.items()])
        return function, f.calls

    def _key(self, place: _Place) -> Key:
        if not self.declared:
            for file in self.program.files.values():
                for function in file.functions:
                    self.declared[file.text.path, function.name] = function
        path, name, ghost = place
        return Key(self.declared[path, name], ghost)

    def name_of(self, key: Key) -> str:
        """The name in the IR: as in Linux where that is unique; the twin without steps is marked."""
        name = self.names.get(key)
        if name is None:
            name = key.decl.name
            if self.uses.get(name, 0) > 1:
                name = f"{_stem(key.decl)}.{name}"
                if self.uses[name] > 1:
                    name = key.decl.file.text.path.removesuffix(".py").replace("/", ".") + "." + key.decl.name
            if key.ghost and not key.decl.ghost:
                name += ".ghost"
            self.names[key] = name
        return name

    def _lower(self, key: Key) -> tuple[ir.Function, Frame]:
        decl = key.decl
        signature = self.program.signature(decl)
        f = Frame(self.program, decl.file, self.name_of, decl, key.ghost)
        params: list[str] = []
        for param in signature.params:
            if param.name in params:
                raise f.refuse(decl.node, f"two parameters “{param.name}”", "two names")
            value = f.declare(decl.node, param.name, param.type)
            params += [part.name for part in value.parts if isinstance(part, ir.Var)]
        f.start(cfg.Label())
        if not key.ghost:
            hooks.weave(f, self.hooks.get(decl, []))
        body = decl.node.body
        statements.block(f, body[1:] if is_docstring(body[0]) else body)
        end = ir.Return(f.file.at(body[-1]), ())
        if isinstance(signature.result, Nothing):
            f.on_return(body[-1], ())
        f.cur.term = end
        blocks = cfg.finish(f.labels)
        if not isinstance(signature.result, Nothing) and any(block.term is end for block in blocks):
            raise refuse(f.file.name, decl.node, f"“{decl.name}” can end without a result", "a return on every path")
        results = tuple(kind for _, kind in scalars(signature.result))
        at = f.file.at(decl.node)
        used = _used_variables(blocks)
        kinds = {name: kind for name, kind in f.vars.items() if name in params or name in used}
        return ir.Function(self.name_of(key), tuple(params), results, kinds, blocks, key.ghost, at), f

    def _check_recursion(self, roots: Iterable[Key]) -> None:
        done: set[Key] = set()
        for root in roots:
            path: dict[Key, None] = {}
            self._visit(root, path, done)

    def _visit(self, key: Key, path: dict[Key, None], done: set[Key]) -> None:
        if key in done:
            return
        path[key] = None
        for callee, (file, node) in self.calls[key].items():
            if callee in path:
                chain = " → ".join(k.decl.name for k in [*list(path)[list(path).index(callee) :], callee])
                raise refuse(file.name, node, f"recursion: {chain}", "a loop")
            self._visit(callee, path, done)
        del path[key]
        done.add(key)

    def check(self, file: File) -> None:
        """Resolve every declaration of a file, used or not."""
        self.program.check_imports(file)
        for decl in file.names.values():
            if isinstance(decl, StructDecl):
                self.program.fields(decl)
            elif isinstance(decl, RecordDecl):
                self.program.resolve_record(decl)
            elif isinstance(decl, EnumDecl):
                self.program.resolve_enum(decl)
            elif isinstance(decl, AliasDecl):
                self.program.type_of(file, decl.node)
            elif isinstance(decl, ConstDecl):
                self.program.constant_value(decl)
            elif isinstance(decl, FunctionDecl):
                self.program.signature(decl)

    # ----------------------------------------------------------------------------------------- the module

    def compiled(self) -> Compiled:
        """Everything that was lowered, in the order of the sources."""
        order = sorted(self.functions, key=lambda k: (k.decl.file.text.path, k.decl.node.lineno, k.ghost))
        module = ir.Module(functions={self.name_of(key): self.functions[key] for key in order})
        for name in sorted(self._structs_used(module)):
            decl = self.program.structs[name]
            members = tuple(member.ir for member in self.program.fields(decl).values())
            module.structs[name] = ir.Struct(name, decl.kind, members, decl.file.at(decl.node))
        situations: set[str] = set()
        flags = set(MACHINE_FLAGS)
        sources = self.program.sources
        for text in [*sources.texts(), *sources.directory_texts("invariants", every_arch=True)]:
            reached, raised = _told(text.text)
            situations |= reached
            flags |= raised
        docs = {self.name_of(key): ast.get_docstring(key.decl.node) or "" for key in order}
        names = {self.name_of(key): (key.decl.file.text.path, key.decl.name) for key in order}
        defaults = {p.name: p.default for p in self.program.params.values() if p.default is not None}
        known = {self.name_of(key) for key in self.taken}
        return Compiled(module, defaults, situations, flags, docs, names, known=known)

    def _structs_used(self, module: ir.Module) -> set[str]:
        """The structs that functions name, and those to which their members lead."""
        work = [name for function in module.functions.values() for name in _structs_named(function)]
        used: set[str] = set()
        while work:
            name = work.pop()
            if name not in used:
                used.add(name)
                for member in self.program.fields(self.program.structs[name]).values():
                    if isinstance(member.element, Ptr):
                        work.append(member.element.struct.name)
                    work += [kind.struct for _, kind in member.ir.parts if kind.kind == "ptr"]
        return used


@by_identity
def _structs_named(function: ir.Function) -> frozenset[str]:
    """The structs that a function names."""
    found = {kind.struct for kind in (*function.vars.values(), *function.results) if kind.kind == "ptr"}
    for block in function.blocks:
        for stmt in block.stmts:
            found.update(place.struct for place in ir.places(stmt))
            if isinstance(stmt, ir.AssertHeld):
                found.add(stmt.place.struct)
    return frozenset(found)


@by_identity
def _declarations(file: File) -> str:
    """A file without the bodies of its functions."""
    lines = file.text.text.split("\n")
    parts = []
    for node in file.tree.body:
        first, last, column = node.lineno, node.end_lineno or node.lineno, node.end_col_offset or 0
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([first, *(d.lineno for d in node.decorator_list)])
        if isinstance(node, ast.FunctionDef):
            last, column = node.body[0].lineno, node.body[0].col_offset
        parts += [*lines[first - 1 : last - 1], lines[last - 1][:column]]  # of what is not ASCII, a little more
    return "\n".join(parts)


@functools.lru_cache(1024)  # the texts of the model, for test after test
def _told(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The situations and the flags that a text names."""
    return frozenset(_REACH.findall(text)), frozenset(_FLAG.findall(text))


def _used_variables(blocks: list[ir.Block]) -> set[str]:
    """The variables that statements read or set."""
    used: set[str] = set()
    for block in blocks:
        for stmt in block.stmts:
            used.update(flow.uses(stmt), flow.defs(stmt))
        used.update(flow.uses(block.term))
    return used
