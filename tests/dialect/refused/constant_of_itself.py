# SPDX-License-Identifier: GPL-2.0-only
A = B + 1
B = A
