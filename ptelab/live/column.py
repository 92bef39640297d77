# SPDX-License-Identifier: GPL-2.0-only
"""The columns of a litmus test as programs for the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptelab.litmus import syntax as s
from ptelab.litmus.columns import calls, errno_value
from ptelab.litmus.resolve import Column, Test
from ptelab.live.devices import CALLS as DEVICE_CALLS
from ptelab.live.devices import Devices
from ptelab.live.program import WORD, Arg, Label, Program, Reg
from ptelab.live.switching import Switching

if TYPE_CHECKING:
    from ptelab.live.scenario import Stage

PAGE = 4096

CONSTANTS = {
    "PROT_NONE": 0, "PROT_READ": 1, "PROT_WRITE": 2,
    "MREMAP_MAYMOVE": 1, "MREMAP_FIXED": 2, "MREMAP_DONTUNMAP": 4,
    "MADV_DONTNEED": 4, "MADV_FREE": 8, "MADV_REMOVE": 9, "MADV_MERGEABLE": 12, "MADV_UNMERGEABLE": 13,
    "MADV_COLD": 20, "MADV_PAGEOUT": 21, "MADV_POPULATE_READ": 22, "MADV_POPULATE_WRITE": 23,
}  # fmt: skip
"""The system's numbers of what columns name."""

_NO_ADVICE = (5, 6, 7)
"""Numbers that mean nothing, neither to Linux nor to the model."""

SYNC_FILE_RANGE_ALL = 7
_SHORT_NS = 1_000
MADV_COLLAPSE = 25
TABLE_BYTES = 512 * PAGE


class Unable(Exception):
    """Why a test cannot be performed here."""


class ColumnCompiler:
    """Writes the statements of one column into a program."""

    def __init__(self, stage: Stage, column: Column, program: Program, run: Reg) -> None:
        self.stage, self.test, self.column, self.program = stage, stage.test, column, program
        self.run = run  # has the number of the run
        self.registers: dict[str, Reg] = {}
        self.fault = program.reg()
        self.end = Label()
        self.switching = Switching(self)
        self.devices = Devices(self, list(calls(column.process.body)))

    def reset(self) -> None:
        """Give all registers the value that they have at the beginning of a run."""
        self.program.op("SET", 0, to=self.fault)
        for name in _registers(self.column.process.body):
            self.program.op("SET", 0, to=self.register(name))

    @staticmethod
    def unable(why: str) -> Unable:
        """The error to raise when something cannot be done."""
        return Unable(why)

    def number(self, e: s.Expression) -> int:
        """The value of an expression that is known."""
        value = self._value(e)
        if not isinstance(value, int):
            raise Unable("a value is not known before the run")
        return value

    def statements(self) -> None:
        """The column; behind it, its end."""
        self._statement(self.column.process.body)
        self.program.label(self.end)

    def register(self, name: str) -> Reg:
        """The agent's register for one of the column's."""
        if name not in self.registers:
            self.registers[name] = self.program.reg()
        return self.registers[name]

    def _statement(self, statement: s.Statement) -> None:
        match statement:
            case s.Block(_, statements):
                for st in statements:
                    self._statement(st)
            case s.Declaration(_, _, names):
                for name, value in names:
                    if value is not None:
                        self._assign(self.register(name.name), value)
            case s.Assignment(_, s.Name(_, name), value):
                self._assign(self.register(name), value)
            case s.Evaluate(_, s.Call() as call):
                self._call(call, self.program.reg())
            case s.If(_, condition, then, orelse):
                other, after = Label(), Label()
                self.program.op("IF_ZERO", self._value(condition), other)
                self._statement(then)
                self.program.jump(after)
                self.program.label(other)
                if orelse is not None:
                    self._statement(orelse)
                self.program.label(after)
            case _:
                raise Unable("a statement is not understood")

    def _assign(self, to: Reg, value: s.Expression) -> None:
        if isinstance(value, s.Call):
            self._call(value, to)
        else:
            self.program.op("SET", self._value(value), to=to)

    # -------------------------------------------------------------------------------------- expressions

    def _value(self, e: s.Expression) -> Arg:
        match e:
            case s.Integer(_, value):
                return value
            case s.PageSize():
                return self.stage.page
            case s.Name(_, name):
                if name in CONSTANTS:
                    return CONSTANTS[name]
                return self.register(name)
            case s.Unary(_, "-", s.Name(_, name)):
                return -(errno_value(name) or 0)
            case s.Unary(_, "!", a):
                return self._op("EQUAL", self._value(a), 0)
            case s.Binary(_, op, a, b):
                x, y = self._value(a), self._value(b)
                if isinstance(x, int) and isinstance(y, int) and op in "+-*|":
                    return {"+": x + y, "-": x - y, "*": x * y, "|": x | y}[op]
                simple = {"+": "ADD", "-": "SUB", "*": "TIMES", "|": "OR", "==": "EQUAL", "<": "LESS"}
                if op in simple:
                    return self._op(simple[op], x, y)
                match op:
                    case "!=":
                        return self._not(self._op("EQUAL", x, y))
                    case ">":
                        return self._op("LESS", y, x)
                    case "<=":
                        return self._not(self._op("LESS", y, x))
                    case ">=":
                        return self._not(self._op("LESS", x, y))
                    case "&&" | "||":
                        truths = self._not(self._op("EQUAL", x, 0)), self._not(self._op("EQUAL", y, 0))
                        return self._op("AND" if op == "&&" else "OR", *truths)
        raise Unable("an expression is not understood")

    def _op(self, op: str, *args: Arg) -> Reg:
        to = self.program.reg()
        self.program.op(op, *args, to=to)
        return to

    def _not(self, value: Arg) -> Reg:
        return self._op("EQUAL", value, 0)

    def address(self, e: s.Expression) -> int:
        """The address that an expression is."""
        match e:
            case s.Name(_, name) if name in self.test.vmas:
                return self.stage.address(name, 0)
            case s.Binary(_, "+", a, b):
                number = self._value(b)
                assert isinstance(number, int)
                return self.address(a) + number
            case s.Unary(_, "&", s.Unary(_, "*", a)):
                return self.address(a)
            case s.Unary(_, "&", s.Subscript(_, a, index)) | s.Subscript(_, a, index):
                number = self._value(index)
                assert isinstance(number, int)
                return self.address(a) + number
            case s.Unary(_, "*", a):
                return self.address(a)
        raise Unable("an address is not understood")

    # -------------------------------------------------------------------------------------------- calls

    def _call(self, call: s.Call, to: Reg) -> None:
        p = self.program
        if call.name == "READ_ONCE":
            refused = Label()
            loaded = p.reg()
            p.load(loaded, self.address(call.args[0]) + self.stage.offset, refused)
            p.op("SET", loaded, to=to)
            self._refused(refused)
        elif call.name == "WRITE_ONCE":
            refused = Label()
            p.store(self.address(call.args[0]) + self.stage.offset, self._value(call.args[1]), refused)
            self._refused(refused)
        elif call.name in DEVICE_CALLS:
            self.devices.call(call.name, call.args, to)
        else:
            writer = getattr(self, f"_call_{call.name}", None)
            if writer is None:
                raise Unable(f"{call.name} happens within the kernel: user space has no way to do just that")
            writer(call.args, to)

    # What a refused access does: its column ends, and the signal is noted.
    def _refused(self, refused: Label) -> None:
        p = self.program
        on = Label()
        p.jump(on)
        p.label(refused)
        p.op("SET", Reg(1), to=self.fault)
        p.jump(self.end)
        p.label(on)

    def system(self, to: Reg, name: str, *args: Arg) -> None:
        """A system call whose result is 0 or -errno."""
        p = self.program
        p.call(name, *args, to=to)
        after = Label()
        p.op("IF_ZERO", self._not(self._op("LESS", to, 0)), after)
        p.op("SET", 0, to=to)
        p.label(after)

    def _call_munmap(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        self.system(to, "munmap", self.address(args[0]), self._value(args[1]))

    def _call_madvise(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        if isinstance(args[2], s.Integer) and args[2].value not in _NO_ADVICE:
            raise Unable("an advice that is a number of the model's means something else here")
        address = self.address(args[0])
        self.system(to, "madvise", address, self._value(args[1]), self._value(args[2]))
        if isinstance(args[2], s.Name) and args[2].name == "MADV_PAGEOUT":
            self._look("advice", address)

    # Whether reclaim has brought a page to swap is remembered.
    def _look(self, how: str, address: int) -> None:
        if self.stage.swapping:
            mm = self.column.mm or self.stage.main_mm
            self.stage.swapping.look(self.program, how, self.column.number, mm, address)

    def _call_mprotect(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        self.system(to, "mprotect", self.address(args[0]), self._value(args[1]), self._value(args[2]))

    def _call_mremap(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        old, new = self.address(args[0]), self.address(args[4])
        size, known = self.number(args[2]), self._addresses()
        if not set(range(new, new + size, self.stage.page)) <= known:
            raise Unable("where the model's addresses end, there are more here")
        self.system(to, "mremap", old, *(self._value(a) for a in args[1:4]), new)

    # The pages that mappings have, or that are kept free for them.
    def _addresses(self) -> set[int]:
        return {self.stage.address(v.name, page) for v in self.test.vmas.values() for page in range(v.pages)}

    def _call_reclaim_page(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        name = args[0].name if isinstance(args[0], s.Name) else ""
        places = [place for place, bits in self.test.ptes.items() if bits.page == name]
        if len(places) != 1:
            raise Unable("MADV_PAGEOUT takes only pages that one process maps")
        if self.stage.swapping and _copied(self.test):
            self.stage.swapping.watch(name)
        address, mm, advice = self.stage.address(*places[0]), self.test.vmas[places[0][0]].mm, CONSTANTS["MADV_PAGEOUT"]
        p = self.program
        if mm == (self.column.mm or self.stage.main_mm):
            p.call("madvise", address, self.stage.page, advice, to=to)
            self._look("reclaim", address)
            if self.stage.swapping:
                self.stage.swapping.look_at_page(p, self.column.number, name)
            return
        self._advise(mm, address, self.stage.page, advice, to)

    # madvise for another process.
    def _advise(self, mm: str, address: int, size: int, advice: int, to: Reg) -> None:
        p, process = self.program, self.program.reg()
        p.load(process, self.stage.pid(mm))
        p.call("pidfd_open", process, 0, to=process)
        p.call("process_madvise", process, self.stage.shared.words(2, address, size), 1, advice, 0, to=to)
        p.call("close", process)

    # Khugepaged's work on the table of a page, at once.
    def _call_khugepaged(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        if not (isinstance(args[0], s.Name) and args[0].name == self.stage.main_mm):
            raise Unable("MADV_COLLAPSE is for the process itself")
        if not self._stays(self.number(args[1])):
            raise Unable("MADV_COLLAPSE makes a huge page of no page at all, which khugepaged does not")
        place = self.stage.place(self.number(args[1]))
        self.program.call("madvise", place - place % TABLE_BYTES, TABLE_BYTES, MADV_COLLAPSE, to=to)

    # Whether a page stays in a table, whatever columns drop, or an access brings one back, or the table goes as well.
    def _stays(self, page: int) -> bool:
        stage, dropped, used = self.stage, set[int](), set[int]()
        for call in (call for c in self.test.columns for call in calls(c.process.body)):
            if call.name == "madvise" and isinstance(call.args[2], s.Name) and call.args[2].name == "MADV_DONTNEED":
                start = self.address(call.args[0])
                dropped |= set(range(start, start + self.number(call.args[1]), stage.page))
            elif call.name in ("READ_ONCE", "WRITE_ONCE", "pin_user_pages"):
                used.add(self.address(call.args[0]))
        first = page - page % stage.entries
        table = {stage.place(first + i) for i in range(stage.entries)}
        there = {stage.address(*place) for place in self.test.ptes} & table
        return bool(there - dropped) or bool(there & used) or table <= dropped

    def _call_ksm_merge(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        assert self.stage.merging is not None
        self.stage.merging.merge(self.program)

    # The CPU has nothing else to do: it runs its idle thread, which borrows the mm.
    def _call_idle(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        self.program.call("nanosleep", self.stage.shared.words(2, 0, _SHORT_NS), 0)

    def _call_switch_to(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        assert isinstance(args[0], s.Name)
        self.switching.to(args[0].name)

    def _call_mincore(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        p = self.program
        size, step = self.number(args[1]), self.stage.page
        # A byte for each of the machine's pages, of which only the first bit has a meaning, and a word behind the last.
        vector = self.stage.shared.words(size // PAGE // WORD + 2)
        for page in range(size // step):
            p.store(vector + page * step // PAGE, 0)
        p.call("mincore", self.address(args[0]), size, vector)
        found, bit = p.reg(), p.reg()
        p.op("SET", 0, to=to)
        for page in range(size // step):
            p.load(found, vector + page * step // PAGE)
            p.op("AND", found, 1, to=bit)
            p.op("TIMES", bit, 1 << page, to=bit)
            p.op("OR", to, bit, to=to)

    def _call_clear_refs(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        p, stage = self.program, self.stage
        opened = p.reg()
        p.call("openat", -100, stage.clear_refs_path, 1, 0, to=opened)
        p.call("write", opened, stage.four, 1)
        p.call("close", opened)

    def _call_exit(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        self.program.op("END")

    def _call_fork(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        assert isinstance(args[0], s.Name)
        child = self.stage.child_program(args[0].name)
        if self.devices.forks:
            self.devices.forks.before()
        self.program.op("FORK", child.number, to=to)
        if self.devices.forks:
            self.devices.forks.after()
        self.program.op("SET", 0, to=to)

    def _file(self, e: s.Expression) -> str:
        if not isinstance(e, s.Name) or e.name not in self.test.files:
            raise Unable("a file is not understood")
        return e.name

    def _call_writeback(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        name, index = self._file(args[0]), self._value(args[1])
        assert isinstance(index, int)
        fd = self.stage.files[name].fd
        self.system(to, "sync_file_range", fd, index * self.stage.page, self.stage.page, SYNC_FILE_RANGE_ALL)

    def _call_truncate(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        name, length = self._file(args[0]), self._value(args[1])
        assert isinstance(length, int)
        self.system(to, "ftruncate", self.stage.files[name].fd, length * self.stage.page)

    def _call_reclaim(self, args: tuple[s.Expression, ...], to: Reg) -> None:
        name = self._file(args[0])
        behind = [call.name for call in calls(self.column.process.body)]
        if {"READ_ONCE", "WRITE_ONCE"} & set(behind[behind.index("reclaim") :]):
            raise Unable("what reclaim has taken is read in again here, and in the model it is not")
        first, count = self._value(args[1]), self._value(args[2])
        assert isinstance(first, int) and isinstance(count, int)
        for vma in self.test.vmas.values():
            if vma.file == name and vma.mm == self.stage.main_mm:
                low = max(first, vma.pgoff)
                high = min(first + count, vma.pgoff + vma.pages)
                if low < high:
                    start = self.stage.address(vma.name, low - vma.pgoff)
                    self.system(to, "madvise", start, (high - low) * self.stage.page, CONSTANTS["MADV_PAGEOUT"])


def _registers(statement: s.Statement) -> list[str]:
    match statement:
        case s.Block(_, statements):
            return [name for st in statements for name in _registers(st)]
        case s.Declaration(_, _, names):
            return [name.name for name, _ in names]
        case s.Assignment(_, s.Name(_, name), _):
            return [name]
        case s.If(_, _, then, orelse):
            return _registers(then) + (_registers(orelse) if orelse else [])
    return []


# Whether a copy may lie where a page was at the beginning: one that is pinned stays, and its copy is the child's.
def _copied(test: Test) -> bool:
    found = [call.name for c in test.columns for call in calls(c.process.body)]
    return bool(test.children) and "WRITE_ONCE" in found and "pin_user_pages" not in found


def register_names(column: Column) -> list[str]:
    """The registers of a column, each once."""
    return list(dict.fromkeys(_registers(column.process.body)))
