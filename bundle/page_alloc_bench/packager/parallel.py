# SPDX-License-Identifier: GPL-2.0-only
"""Several builds at once; interrupting one interrupts all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from page_alloc_bench.packager import process
from page_alloc_bench.packager.errors import PackagerError

Value = TypeVar("Value")

_STOP_S = 0.05


def run(functions: Iterable[Callable[[], Value]], workers: int) -> Iterator[Value | PackagerError]:
    """Call all of ``functions``, ``workers`` at a time, and yield what they return, in order.

    A PackagerError is yielded in place of the value. Any other exception, such as one that a signal
    raises in the caller while it waits, kills the programs of the rest. A caller that wants no more
    values waits for those that have begun.
    """
    pool = ThreadPoolExecutor(max_workers=workers)
    futures: list[Future[Value | PackagerError]] = []
    try:
        futures += [pool.submit(_caught, function) for function in functions]
        for future in futures:
            yield future.result()
    except GeneratorExit:
        raise
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        # Again and again, since a build starts one program after the other. Not by futures.wait(),
        # which waits for the cancelled ones as well.
        while not all(future.done() for future in futures):
            process.stop_all()
            time.sleep(_STOP_S)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def share(jobs: int, builds: int) -> tuple[int, int]:
    """Return how many of ``builds`` run at once and how many jobs each has, ``jobs`` in all."""
    workers = max(1, min(jobs, builds))
    return workers, max(1, jobs // workers)


def _caught(function: Callable[[], Value]) -> Value | PackagerError:
    try:
        return function()
    except PackagerError as error:
        return error
