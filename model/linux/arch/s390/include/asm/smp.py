# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/smp.h (v7.0).

Differs: Linux has smp_call_function in kernel/smp.c, over what is here.
"""

from smp import smp_call_function  # noqa: F401
