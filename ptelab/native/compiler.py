# SPDX-License-Identifier: GPL-2.0-only
"""LLVM text to callable machine code, by llvmlite."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm


class Library:
    """Compiled code; keep it alive while its functions are in use."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def function(self, name: str, arguments: int) -> Callable[..., int]:
        """A function of words that returns a word; calling it releases the GIL."""
        address = self._engine.get_function_address(name)
        prototype = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * arguments)
        return prototype(address)


def compile_text(text: str, speed_level: int) -> Library:
    """Verify a module, optimise it at LLVM's speed level 0 … 3, and load it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(text)
    module.verify()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=speed_level, jit=True
    )
    options = llvm.create_pipeline_tuning_options(speed_level=speed_level)
    builder = llvm.create_pass_builder(machine, options)
    if speed_level:
        builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return Library(engine)
