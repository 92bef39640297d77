# SPDX-License-Identifier: GPL-2.0-only
"""The parse tree of a litmus file to the classes of `syntax`: one method a rule of the grammar, bottom up."""

from __future__ import annotations

import re
from typing import Any, Literal

from lark import Token, Transformer, v_args
from lark.tree import Meta

from ptelab.litmus import syntax as s
from ptelab.litmus.syntax import LitmusError, Pos

_TYPES = {"int", "char", "long", "bool", "unsigned", "u8", "u16", "u32", "u64"}


def _pos(what: Meta | Token) -> Pos:
    return Pos(what.line or 1, what.column or 1)


def _int(token: Token | str) -> int:
    return int(token, 16) if str(token).lower().startswith("0x") else int(token)


@v_args(inline=True, meta=True)
class ToSyntax(Transformer[Token, s.Litmus]):
    """Builds the syntax of the file called `file`, whose blanked text is `text`."""

    def __init__(self, file: str, text: str, comment: str, comment_pos: Pos) -> None:
        super().__init__()
        self.file, self.text = file, text
        self.comment, self.comment_pos = comment, comment_pos

    def start(self, meta: Meta, name: Token, *rest: Any) -> s.Litmus:
        metadata = []
        for token in rest:
            if isinstance(token, Token):
                key, _, value = str(token).partition("=")
                metadata.append(s.Metadata(_pos(token), key.strip(), value.strip()))
        init = next(r for r in rest if isinstance(r, list))
        processes = tuple(r for r in rest if isinstance(r, s.Process))
        locations, prop, condition = rest[-1]
        comment = "\n".join(re.sub(r"^ \* ?", "", line.rstrip()) for line in self.comment.strip("\n").splitlines())
        return s.Litmus(self.file, str(name), comment.strip(), self.comment_pos, tuple(metadata), tuple(init),
                        processes, locations or (), prop, condition)  # fmt: skip

    # ---- init

    def init(self, meta: Meta, *items: s.InitItem | None) -> list[s.InitItem]:
        return [i for i in items if i is not None]

    def declare(self, meta: Meta, type_: Token, name: Token, value: Any) -> s.Declare:
        return s.Declare(_pos(meta), str(type_), str(name), value)

    def assign(self, meta: Meta, thread: Token, name: Token, value: Any) -> s.Assign:
        return s.Assign(_pos(meta), _int(thread), str(name), value)

    def assign_at(self, meta: Meta, thread: Token, name: Token, address: s.Address, record: s.Record) -> s.AssignAt:
        return s.AssignAt(_pos(meta), _int(thread), str(name), address, record)

    def pte_init(self, meta: Meta, _: Any, address: s.Address, record: s.Record) -> s.PteInit:
        return s.PteInit(_pos(meta), address, record)

    def pte_word(self, meta: Meta, word: Token) -> Token:
        return word

    def name_value(self, meta: Meta, name: Token) -> str:
        return str(name)

    def list_value(self, meta: Meta, *values: int) -> tuple[int, ...]:
        return values

    def record(self, meta: Meta, *fields: s.RecordField) -> s.Record:
        return fields

    def record_field(self, meta: Meta, name: Token, value: s.Value) -> s.RecordField:
        return s.RecordField(_pos(meta), str(name), value)

    def page_value(self, meta: Meta, function: Token, name: Token, index: Token | None) -> s.PageOf:
        if function != "PA":
            raise LitmusError(self.file, _pos(meta), f"'{function}' is unknown here", "PA(f[0])")
        return s.PageOf(_pos(meta), str(name), _int(index or "0"))

    def address(self, meta: Meta, name: Token, *rest: Token | None) -> s.Address:
        words = [t for t in rest if t is not None]
        pages = next((_int(t) for t in words if t.type == "INT"), 1) if words else 0
        return s.Address(_pos(meta), str(name), pages)

    def address_reversed(self, meta: Meta, name: Token, _: Token, count: Token) -> s.Address:
        return s.Address(_pos(meta), str(name), _int(count))

    def number(self, meta: Meta, value: Token) -> int:
        return _int(value)

    def negative(self, meta: Meta, value: Token) -> int:
        return -_int(value)

    def errno(self, meta: Meta, name: Token) -> str:
        return str(name)

    # ---- processes

    def process(self, meta: Meta, number: Token, *rest: Any) -> s.Process:
        parameters = tuple(p for p in rest if isinstance(p, s.Parameter))
        body = tuple(r for r in rest if r is not None and not isinstance(r, s.Parameter))
        return s.Process(_pos(number), _int(number[1:]), parameters, s.Block(_pos(meta), body))

    def parameter(self, meta: Meta, *words: Token) -> s.Parameter:
        return s.Parameter(_pos(words[-1]), tuple(str(w) for w in words[:-1] if w != "*"), str(words[-1]))

    def declaration(self, meta: Meta, *words: Any) -> s.Declaration:
        type_ = tuple(str(w) for w in words if isinstance(w, Token))
        if not set(type_) <= _TYPES:
            raise LitmusError(self.file, _pos(meta), f"a register cannot be of type '{' '.join(type_)}'", "int")
        return s.Declaration(_pos(meta), type_, tuple(w for w in words if isinstance(w, tuple)))

    def declarator(self, meta: Meta, name: Token, value: s.Expression | None) -> tuple[s.Name, s.Expression | None]:
        return s.Name(_pos(name), str(name)), value

    def assignment(self, meta: Meta, target: s.Expression, value: s.Expression) -> s.Assignment:
        return s.Assignment(_pos(meta), target, value)

    def expression_statement(self, meta: Meta, expression: s.Expression) -> s.Evaluate:
        return s.Evaluate(_pos(meta), expression)

    def if_statement(self, meta: Meta, _if: Token, condition: s.Expression, then: s.Statement,
                     _else: Token | None, orelse: s.Statement | None) -> s.If:  # fmt: skip
        return s.If(_pos(meta), condition, then, orelse)

    def block(self, meta: Meta, *statements: s.Statement | None) -> s.Block:
        return s.Block(_pos(meta), tuple(st for st in statements if st is not None))

    def empty(self, meta: Meta) -> None:
        return None

    def binary(self, meta: Meta, a: s.Expression, op: Token, b: s.Expression) -> s.Binary:
        return s.Binary(_pos(op), str(op), a, b)

    def unary(self, meta: Meta, op: Token, a: s.Expression) -> s.Unary:
        return s.Unary(_pos(op), str(op), a)

    def integer(self, meta: Meta, value: Token) -> s.Integer:
        return s.Integer(_pos(value), _int(value))

    def page_size(self, meta: Meta, word: Token) -> s.PageSize:
        return s.PageSize(_pos(word))

    def identifier(self, meta: Meta, name: Token) -> s.Name:
        return s.Name(_pos(name), str(name))

    def call(self, meta: Meta, name: Token, *args: s.Expression | None) -> s.Call:
        return s.Call(_pos(name), str(name), tuple(a for a in args if a is not None))

    def subscript(self, meta: Meta, a: s.Expression, index: s.Expression) -> s.Subscript:
        return s.Subscript(_pos(meta), a, index)

    # ---- tail

    def tail(self, meta: Meta, locations: Any, filter_: Any, condition: Any) -> tuple[Any, Any, Any]:
        return locations, filter_, condition

    def locations(self, meta: Meta, *locations: s.Location | None) -> tuple[s.Location, ...]:
        return tuple(loc for loc in locations if loc is not None)

    def filter(self, meta: Meta, prop: s.Prop) -> s.Prop:
        return prop

    def condition(self, meta: Meta, word: Token, prop: s.Prop) -> s.Condition:
        names: dict[str, Literal["exists", "~exists", "forall"]] = {
            "EXISTS": "exists",
            "NOT_EXISTS": "~exists",
            "FORALL": "forall",
        }
        text = " ".join(self.text[word.end_pos or 0 : meta.end_pos].split())
        return s.Condition(_pos(word), names[word.type], prop, text)

    def implies(self, meta: Meta, a: s.Prop, b: s.Prop) -> s.Prop:
        return s.Connect("implies", a, b)

    def or_(self, meta: Meta, a: s.Prop, b: s.Prop) -> s.Prop:
        return s.Connect("or", a, b)

    def and_(self, meta: Meta, a: s.Prop, b: s.Prop) -> s.Prop:
        return s.Connect("and", a, b)

    def not_(self, meta: Meta, a: s.Prop) -> s.Prop:
        return s.Not(a)

    def true(self, meta: Meta) -> s.Prop:
        return s.Truth(True)

    def false(self, meta: Meta) -> s.Prop:
        return s.Truth(False)

    def atom(self, meta: Meta, prop: s.Prop) -> s.Prop:
        return prop

    def flag(self, meta: Meta, _: Token, name: Token) -> s.Prop:
        return s.FlagAtom(_pos(name), str(name))

    def fault(self, meta: Meta, _: Token, proc: Token, address: s.Address | None, signal: Token | None) -> s.Prop:
        return s.FaultAtom(_pos(meta), _int(proc[1:]), address, str(signal or ""))

    def compare(self, meta: Meta, location: s.Location, comparison: Any) -> s.Prop:
        if comparison is None:
            return s.Compare(_pos(meta), location, "=", None)
        return s.Compare(_pos(meta), location, comparison[0], comparison[1])

    def comparison(self, meta: Meta, op: Token, value: Any) -> tuple[str, Any]:
        return str(op), value

    def register(self, meta: Meta, thread: Token, name: Token) -> s.Location:
        return s.Register(_pos(meta), _int(thread), str(name))

    def bare_name(self, meta: Meta, name: Token) -> s.Location:
        raise LitmusError(
            self.file,
            _pos(meta),
            f"'{name}' by itself has no value",
            f"{name}[0] (a page of a file) or 0:{name} (a register)",
        )

    def page(self, meta: Meta, name: Token, index: Token) -> s.Location:
        return s.Observe(_pos(meta), "", str(name), _int(index))

    def observe(self, meta: Meta, function: Token, name: Token, index: Token | None) -> s.Location:
        return s.Observe(_pos(meta), str(function), str(name), None if index is None else _int(index))

    def pte(self, meta: Meta, _: Token, address: s.Address) -> s.Location:
        return s.PteOf(_pos(meta), address)
