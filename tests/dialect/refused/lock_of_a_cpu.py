# SPDX-License-Identifier: GPL-2.0-only
@percpu
class Cpu:
    lock: spinlock_t
