# SPDX-License-Identifier: GPL-2.0-only
@struct
class Page:
    größe: u4
