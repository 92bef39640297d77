# SPDX-License-Identifier: GPL-2.0-only
"""LLVM text to callable machine code, by llvmlite, or from the cache of what was compiled before."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from ptelab.native import objects

VERIFY = False
"""Whether LLVM looks over what it is given before it compiles it; in the tests it does (tests/conftest.py)."""


class Library:
    """Compiled code; keep it alive while its functions are in use."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def address(self, name: str) -> int:
        """Where a function is."""
        return int(self._engine.get_function_address(name))

    def function(self, name: str, arguments: int) -> Callable[..., int]:
        """A function of words that returns a word; calling it releases the GIL."""
        prototype = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * arguments)
        return prototype(self.address(name))


def compile_text(text: str, speed_level: int, keep: bool = True) -> Library:
    """Read a module, optimise it at LLVM's speed level 0 … 3, and load it.  `keep`: use the cache on disk."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    # Code without calls of the C library, which only optimising adds, need not reach far: it is shorter, and LLVM
    # chooses its instructions in half the time.  Then all its sections must lie in one stretch, as `use_lmm` has it.
    near = speed_level == 0 and "declare" not in text
    model = {"reloc": "pic", "codemodel": "small"} if near else {}
    machine = target.create_target_machine(cpu=cpu, features=features, opt=speed_level, jit=True, **model)
    versions = f"{llvmlite.__version__} {llvm.llvm_version_info} {target.triple} {near}"
    name = objects.key(versions, cpu, features, str(speed_level), text) if keep else ""
    code = objects.get(name) if keep else None
    if code is None:
        module = llvm.parse_assembly(text)
        if VERIFY:
            module.verify()
        if speed_level:
            options = llvm.create_pipeline_tuning_options(speed_level=speed_level)
            builder = llvm.create_pass_builder(machine, options)
            builder.getModulePassManager().run(module, builder)
        code = machine.emit_object(module)
        if keep:
            objects.put(name, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=near or None)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Library(engine)
