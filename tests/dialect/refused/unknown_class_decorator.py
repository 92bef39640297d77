# SPDX-License-Identifier: GPL-2.0-only
@dataclass
class Page:
    refs: u4
