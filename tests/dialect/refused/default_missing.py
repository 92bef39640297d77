# SPDX-License-Identifier: GPL-2.0-only
class pte_t(NamedTuple):
    pfn: u4
