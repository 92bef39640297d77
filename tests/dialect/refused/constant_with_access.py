# SPDX-License-Identifier: GPL-2.0-only
@struct
class Page:
    refs: u4


A = at(Page, 0).refs
