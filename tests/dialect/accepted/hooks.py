# SPDX-License-Identifier: GPL-2.0-only
"""Hooks are called at entry and before every return, with parameters as at entry and the result."""

from __future__ import annotations

from ptelab.lang import at, flag, ghost, on_entry, on_return, struct, u4


@struct
class Page:
    refs: u4


@ghost
class Book:
    calls: u4


def get(page: Page, n: u4) -> u4:
    if n == 0:
        return 0
    n -= 1
    page.refs = n
    return page.refs


def put(page: Page) -> None:
    if page.refs == 0:
        return
    page.refs = 0


@on_entry(get)
@on_return(put)
def counts(page: Page) -> None:
    at(Book, 0).calls += page.refs


@on_return(get)
def result_fits(n: u4, result: u4) -> None:
    if result > n:
        flag("grew", result=result, n=n)


@ghost
def watch(page: Page) -> u4:
    return look(page)


def look(page: Page) -> u4:
    return page.refs
