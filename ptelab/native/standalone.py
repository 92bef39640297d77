# SPDX-License-Identifier: GPL-2.0-only
"""LLVM text to a static executable that needs no library, no linker and no assembler.

The machine code of a few routines that LLVM's text cannot say (system calls, signal handlers, the entry) is given by
the caller, as bytes that come first in memory; they reach the compiled code through the one function `entry`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import llvmlite.binding as llvm

BASE = 0x400000
"""Where the executable is loaded."""

_ATTRIBUTES = '#0 = { nounwind "no-jump-tables"="true" "no-builtins" "frame-pointer"="none" }'


@dataclass(frozen=True, slots=True)
class Target:
    """An architecture: LLVM's triple, the number in an ELF header, the routines and where among them a run starts."""

    triple: str
    elf_machine: int
    routines: bytes
    start: int
    entry: int  # where the routines expect a jump to `entry`; it is the last of them


def executable(text: str, target: Target) -> bytes:
    """The ELF file of a module.  Raises ValueError when the code needs more than its own functions."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    text = "\n".join(_with_attributes(line) for line in text.splitlines()) + f"\nattributes {_ATTRIBUTES}\n"
    module = llvm.parse_assembly(f'target triple = "{target.triple}"\n{text}')
    module.verify()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(opt=2, reloc="static", codemodel="small")
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    code, entry = _code(machine.emit_object(module), target)
    code_offset = -(-(target.entry + 16) // 16) * 16
    image = target.routines.ljust(target.entry, b"\0") + _jump(target, code_offset + entry - target.entry)
    return _elf(image.ljust(code_offset, b"\0") + code, target)


def _with_attributes(line: str) -> str:
    return line.replace(") {", ") #0 {", 1) if line.startswith("define ") else line


def _jump(target: Target, distance: int) -> bytes:
    if target.elf_machine == 62:
        return b"\xe9" + struct.pack("<i", distance - 5)
    return struct.pack("<I", 0x14000000 | distance >> 2 & 0x3FFFFFF)


# The machine code of an object file, with calls between its functions resolved, and where `entry` is in it.
def _code(data: bytes, target: Target) -> tuple[bytes, int]:
    (offset,) = struct.unpack_from("<Q", data, 0x28)
    count, names_at = struct.unpack_from("<HH", data, 0x3C)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, offset + 64 * i) for i in range(count)]

    def name_in(table: int, at: int) -> str:
        start = sections[table][4] + at
        return data[start : data.index(b"\0", start)].decode()

    names = [name_in(names_at, s[0]) for s in sections]
    content = [data[s[4] : s[4] + s[5]] for s in sections]
    text = names.index(".text")
    needed = [n for n, s in zip(names, sections, strict=True) if s[2] & 2 and s[5] and n not in (".text", ".eh_frame")]
    if needed:
        raise ValueError(f"the code needs {', '.join(needed)}")
    symbols_at = names.index(".symtab")
    raw = content[symbols_at]
    symbols = [struct.unpack_from("<IBBHQQ", raw, i) for i in range(0, len(raw), 24)]
    by_name = {name_in(sections[symbols_at][6], s[0]): s for s in symbols}
    code = bytearray(content[text])
    for name, section in zip(names, content, strict=True):
        if name == ".rela.text":
            for at, info, addend in struct.iter_unpack("<QQq", section):
                symbol = symbols[info >> 32]
                if symbol[3] != text:
                    raise ValueError(f"the code needs {name_in(sections[symbols_at][6], symbol[0])}")
                _relocate(code, info & 0xFFFFFFFF, at, symbol[4] + addend - at)
    return bytes(code), by_name["entry"][4]


def _relocate(code: bytearray, kind: int, at: int, distance: int) -> None:
    if kind in (2, 4):  # R_X86_64_PC32, R_X86_64_PLT32
        struct.pack_into("<i", code, at, distance)
    elif kind in (282, 283):  # R_AARCH64_JUMP26, R_AARCH64_CALL26
        (word,) = struct.unpack_from("<I", code, at)
        struct.pack_into("<I", code, at, word & 0xFC000000 | distance >> 2 & 0x3FFFFFF)
    else:
        raise ValueError(f"relocation {kind} is not known")


def _elf(image: bytes, target: Target) -> bytes:
    page = 0x1000
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH", 2, target.elf_machine, 1, BASE + target.start, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, page, BASE, BASE, len(image), len(image), page)
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    return (header + load + stack).ljust(page, b"\0") + image
