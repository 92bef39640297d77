# SPDX-License-Identifier: GPL-2.0-only
def f(i: u4) -> u8:
    return (
        i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i
        + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i
        + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i + i
    )
