# SPDX-License-Identifier: GPL-2.0-only
def f() -> tuple[spinlock_t, u4]:
    return 1, 2
