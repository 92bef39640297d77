# SPDX-License-Identifier: GPL-2.0-only
class Page:
    refs: u4
