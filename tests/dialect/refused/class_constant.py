# SPDX-License-Identifier: GPL-2.0-only
@struct
class Page:
    SIZE = 3
