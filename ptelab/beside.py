# SPDX-License-Identifier: GPL-2.0-only
"""The same work on many things, beside one another in processes of their own."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

__all__ = ["BrokenProcessPool", "in_order"]

T = TypeVar("T")
R = TypeVar("R")


def in_order(function: Callable[[T], R], work: Sequence[T], jobs: int) -> Iterator[R]:
    """`function` of each thing, in the order of `work`; each result as soon as it and all before it are there.

    With one job everything happens in this process.  Leaving the iterator ends the processes, whatever they do, and so
    does Ctrl-C, which only this process hears.  Raises what the function raises, which must be picklable, and
    BrokenProcessPool when a process was killed.
    """
    if jobs <= 1:
        yield from map(function, work)
        return
    # Forked, so that nothing is imported again; nobody has threads yet who has not explored in this process.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork"), _ignore_interrupts) as pool:
        others = set(multiprocessing.active_children())
        futures = [pool.submit(function, thing) for thing in work]
        finished = False
        try:
            for future in futures:
                yield future.result()
            finished = True
        finally:
            if not finished:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
