# SPDX-License-Identifier: GPL-2.0-only
@struct
class Page:
    refs: Array[u4]
