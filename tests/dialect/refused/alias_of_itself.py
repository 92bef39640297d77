# SPDX-License-Identifier: GPL-2.0-only
A: TypeAlias = B
B: TypeAlias = A
