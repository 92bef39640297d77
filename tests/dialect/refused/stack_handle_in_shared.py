# SPDX-License-Identifier: GPL-2.0-only
@onstack
class G:
    n: u4


@struct
class Page:
    g: G
