# SPDX-License-Identifier: GPL-2.0-only
class one(NamedTuple):
    a: bool = False


@struct
class Page:
    one: one


def f(p: Page) -> None:
    set_bit(p.one.a)
