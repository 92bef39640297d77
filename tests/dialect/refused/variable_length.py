# SPDX-License-Identifier: GPL-2.0-only
@struct
class Page:
    refs: Array[u4] = array(N + P)


N = param('N')
P = 2
