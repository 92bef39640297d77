# SPDX-License-Identifier: GPL-2.0-only
"""A tiny compiler for the search itself: Python functions over 64-bit words, translated to LLVM text.

The search (`explorer.py`) is written in ordinary Python syntax with one type, the unsigned 64-bit word.  Memory is
addressed by word: `load(base, i)` is word i of the array at address `base`.  Functions whose names begin with `_` are
compiled into their callers.  Why not Numba: docs/decisions.md.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

_COMPARE = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "ult", ast.LtE: "ule", ast.Gt: "ugt", ast.GtE: "uge"}
_BINARY = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor",
    ast.LShift: "shl", ast.RShift: "lshr", ast.FloorDiv: "udiv", ast.Mod: "urem",
}  # fmt: skip

_DECLARATIONS = """declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
declare i64 @llvm.cttz.i64(i64, i1)
"""


def translate(source: str, constants: Mapping[str, int], external: Mapping[str, str]) -> str:
    """LLVM text of every function in `source`.  `external` maps a callable name to its LLVM symbol."""
    tree = ast.parse(source)
    values = dict(constants)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, int):
                values.setdefault(node.targets[0].id, node.value.value)
    symbols = {f.name: f"@{f.name}" for f in functions} | dict(external)
    return _DECLARATIONS + "\n".join(_Function(f, values, symbols).text() for f in functions)


class _Function:
    """Translates one function; every variable is an alloca, which LLVM turns into registers."""

    def __init__(self, node: ast.FunctionDef, constants: Mapping[str, int], symbols: Mapping[str, str]) -> None:
        self.node = node
        self.constants = constants
        self.symbols = symbols
        self.lines: list[str] = []
        self.counter = 0
        self.loops: list[tuple[str, str]] = []
        self.names = {a.arg for a in node.args.args} | {
            t.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) for t in [n]
        }

    def text(self) -> str:
        params = [a.arg for a in self.node.args.args]
        inner = self.node.name.startswith("_")
        arguments = ", ".join(f"i64 %a.{p}" for p in params)
        head = f"define {'internal ' if inner else ''}i64 @{self.node.name}({arguments})"
        head += f"{' alwaysinline' if inner else ''} {{\nentry:"
        allocas = [f"  %v.{name} = alloca i64" for name in sorted(self.names)]
        stores = [f"  store i64 %a.{p}, ptr %v.{p}" for p in params]
        self._body(self.node.body)
        self.lines.append("  ret i64 0")
        return "\n".join([head, *allocas, *stores, *self.lines, "}", ""])

    def _new(self, stem: str = "t") -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def _emit(self, text: str) -> str:
        name = f"%{self._new()}"
        self.lines.append(f"  {name} = {text}")
        return name

    def _label(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def _body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Expr(value=value):
                self._value(value)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.lines.append(f"  store i64 {self._value(value)}, ptr %v.{name}")
            case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                load = ast.Name(id=target.id, ctx=ast.Load())
                result = self._value(ast.BinOp(left=load, op=op, right=value))
                self.lines.append(f"  store i64 {result}, ptr %v.{name}")
            case ast.Return(value=value):
                self.lines.append(f"  ret i64 {self._value(value) if value else '0'}")
                self._label(self._new("dead"))
            case ast.If(test=test, body=body, orelse=orelse):
                then, other, end = self._new("then"), self._new("else"), self._new("end")
                self.lines.append(f"  br i1 {self._test(test)}, label %{then}, label %{other}")
                self._block(then, body, end)
                self._block(other, orelse, end)
                self._label(end)
            case ast.While(test=test, body=body):
                head, inside, end = self._new("head"), self._new("body"), self._new("end")
                self.lines.append(f"  br label %{head}")
                self._label(head)
                self.lines.append(f"  br i1 {self._test(test)}, label %{inside}, label %{end}")
                self.loops.append((head, end))
                self._block(inside, body, head)
                self.loops.pop()
                self._label(end)
            case ast.Break() | ast.Continue():
                self.lines.append(f"  br label %{self.loops[-1][isinstance(node, ast.Break)]}")
                self._label(self._new("dead"))
            case _:
                raise SyntaxError(f"explorer line {node.lineno}: {ast.unparse(node)}")

    def _block(self, label: str, body: list[ast.stmt], end: str) -> None:
        self._label(label)
        self._body(body)
        self.lines.append(f"  br label %{end}")

    def _test(self, node: ast.expr) -> str:
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._emit(f"icmp {_COMPARE[type(op)]} i64 {self._value(left)}, {self._value(right)}")
            case ast.BoolOp(op=op, values=values):
                result = self._test(values[0])
                for value in values[1:]:
                    result = self._emit(
                        f"{'and' if isinstance(op, ast.And) else 'or'} i1 {result}, {self._test(value)}"
                    )
                return result
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._emit(f"xor i1 {self._test(operand)}, true")
            case _:
                return self._emit(f"icmp ne i64 {self._value(node)}, 0")

    def _value(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=int(value)):
                return str(value - (1 << 64) if value >> 63 else value)
            case ast.Name(id=name):
                if name in self.names:
                    return self._emit(f"load i64, ptr %v.{name}")
                return str(self.constants[name])
            case ast.BinOp(left=left, op=op, right=right):
                return self._emit(f"{_BINARY[type(op)]} i64 {self._value(left)}, {self._value(right)}")
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return self._emit(f"xor i64 {self._value(operand)}, -1")
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return self._emit(f"zext i1 {self._test(node)} to i64")
            case ast.Call(func=ast.Name(id=name), args=args):
                return self._call(name, [self._value(a) for a in args])
            case _:
                raise SyntaxError(f"explorer line {node.lineno}: {ast.unparse(node)}")

    def _match(self, count: int, line: str, first: str, second: str) -> str:
        """Which of the 8 or 16 parts of a cache line, read once, equal `first` (the low bits) or `second`."""
        kind = f"<{count} x i{512 // count}>"
        pointer = self._emit(f"inttoptr i64 {line} to ptr")
        words = self._emit(f"load {kind}, ptr {pointer}, align 64")
        masks = []
        for value in (first, second):
            value = value if count == 8 else self._emit(f"trunc i64 {value} to i32")
            one = self._emit(f"insertelement {kind} poison, i{512 // count} {value}, i64 0")
            every = self._emit(f"shufflevector {kind} {one}, {kind} poison, <{count} x i32> zeroinitializer")
            equal = self._emit(f"icmp eq {kind} {words}, {every}")
            masks.append(
                self._emit(f"zext i{count} {self._emit(f'bitcast <{count} x i1> {equal} to i{count}')} to i64")
            )
        return self._emit(f"or i64 {masks[0]}, {self._emit(f'shl i64 {masks[1]}, {count}')}")

    def _address(self, base: str, index: str) -> str:
        pointer = self._emit(f"inttoptr i64 {base} to ptr")
        return self._emit(f"getelementptr i64, ptr {pointer}, i64 {index}")

    def _call(self, name: str, args: list[str]) -> str:
        match name:
            case "load":
                return self._emit(f"load i64, ptr {self._address(args[0], args[1])}")
            case "store":
                self.lines.append(f"  store i64 {args[2]}, ptr {self._address(args[0], args[1])}")
                return "0"
            case "atomic_load":
                return self._emit(f"load atomic i64, ptr {self._address(args[0], args[1])} acquire, align 8")
            case "atomic_add":
                pointer = self._address(args[0], args[1])
                return self._emit(f"atomicrmw add ptr {pointer}, i64 {args[2]} acq_rel")
            case "atomic_swap_if":
                pointer = self._address(args[0], args[1])
                pair = self._emit(f"cmpxchg ptr {pointer}, i64 {args[2]}, i64 {args[3]} acq_rel acquire")
                return self._emit(f"zext i1 {self._emit(f'extractvalue {{ i64, i1 }} {pair}, 1')} to i64")
            case "atomic_store":
                pointer = self._address(args[0], args[1])
                self.lines.append(f"  store atomic i64 {args[2]}, ptr {pointer} release, align 8")
                return "0"
            case "load16":
                pointer = self._emit(f"inttoptr i64 {args[0]} to ptr")
                pointer = self._emit(f"getelementptr i16, ptr {pointer}, i64 {args[1]}")
                return self._emit(f"zext i16 {self._emit(f'load i16, ptr {pointer}')} to i64")
            case "store16":
                pointer = self._emit(f"inttoptr i64 {args[0]} to ptr")
                pointer = self._emit(f"getelementptr i16, ptr {pointer}, i64 {args[1]}")
                self.lines.append(f"  store i16 {self._emit(f'trunc i64 {args[2]} to i16')}, ptr {pointer}")
                return "0"
            case "match8":
                return self._match(8, *args)
            case "match16":
                return self._match(16, *args)
            case "load32":
                pointer = self._emit(f"inttoptr i64 {args[0]} to ptr")
                pointer = self._emit(f"getelementptr i32, ptr {pointer}, i64 {args[1]}")
                return self._emit(f"zext i32 {self._emit(f'load i32, ptr {pointer}')} to i64")
            case "atomic_swap_if32":
                pointer = self._emit(f"inttoptr i64 {args[0]} to ptr")
                pointer = self._emit(f"getelementptr i32, ptr {pointer}, i64 {args[1]}")
                old, new = (self._emit(f"trunc i64 {a} to i32") for a in args[2:])
                pair = self._emit(f"cmpxchg ptr {pointer}, i32 {old}, i32 {new} acq_rel acquire")
                return self._emit(f"zext i1 {self._emit(f'extractvalue {{ i32, i1 }} {pair}, 1')} to i64")
            case "first_bit":
                return self._emit(f"call i64 @llvm.cttz.i64(i64 {args[0]}, i1 true)")
            case "call":
                pointer = self._emit(f"inttoptr i64 {args[0]} to ptr")
                return self._emit(f"call i64 {pointer}({', '.join(f'i64 {a}' for a in args[1:])})")
            case "prefetch":
                pointer = self._address(args[0], args[1])
                self.lines.append(f"  call void @llvm.prefetch.p0(ptr {pointer}, i32 0, i32 3, i32 1)")
                return "0"
            case _:
                text = ", ".join(f"i64 {a}" for a in args)
                return self._emit(f"call i64 {self.symbols[name]}({text})")
