# SPDX-License-Identifier: GPL-2.0-only
def f(n: u4) -> u4:
    return n // -2
