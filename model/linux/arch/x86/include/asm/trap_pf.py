# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/trap_pf.h (v7.0)."""

from cpu import PF_PROT, PF_USER, PF_WRITE

X86_PF_PROT = PF_PROT
X86_PF_WRITE = PF_WRITE
X86_PF_USER = PF_USER
