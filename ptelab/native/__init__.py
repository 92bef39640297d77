# SPDX-License-Identifier: GPL-2.0-only
"""The native engine: the IR compiled to machine code with LLVM, and a parallel breadth-first search over it."""
