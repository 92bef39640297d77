# SPDX-License-Identifier: GPL-2.0-only
@struct
@percpu
class Page:
    refs: u4
