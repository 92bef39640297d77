# SPDX-License-Identifier: GPL-2.0-only
@percpu
class Tlb:
    n: u4


@struct
class Page:
    tlb: Tlb | None
