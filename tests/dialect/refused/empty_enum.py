# SPDX-License-Identifier: GPL-2.0-only
class Kind(IntEnum):
    pass
