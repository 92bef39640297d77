# SPDX-License-Identifier: GPL-2.0-only
@ghost
class G:
    n: u4


@struct
class Page:
    g: G
