# SPDX-License-Identifier: GPL-2.0-only
from mm.rmap import x as y
