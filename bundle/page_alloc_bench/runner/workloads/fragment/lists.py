# SPDX-License-Identifier: GPL-2.0-only
"""Empty the lists of free pages that each CPU keeps.

A block is not whole while one of its pages waits on such a list, and that may last for hours.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import cpu_lists, fragmented, procfs
from page_alloc_bench.runner.measuring import recorded
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.user import slate
from page_alloc_bench.runner.measuring.user.crew import Crew
from page_alloc_bench.runner.patterns.fragment import MOST

from . import processes

PATTERN = "fragment"
_PART = 2  # of the whole blocks one in so many is used at most
_TIMES = (
    4  # as many pages as a list holds: it is then drained of all, but for a batch of the others
)
_END_S = 120.0
# A CPU's list of another node's pages is emptied when it was not used for three seconds:
# refresh_cpu_vm_stats() in mm/vmstat.c.
OF_OTHERS_S = 5.0


def empty(bench: Bench, cpus: Sequence[int], order: int, text: str) -> None:
    """Fill the lists with the pages of a few blocks of an order. Raises RunnerError.

    On each CPU a process gets memory and gives it back, and then a worker takes whole blocks, and
    gives all their pages back one by one: what lay on the lists before goes to the zone, that of
    processes and that of the kernel, which have lists of their own. What stays there are the last
    of these pages, which lie side by side. text: for whom.
    """
    whole = fragmented.free_blocks(procfs.buddyinfo(), order) // _PART // len(cpus)
    blocks = min(-(-_TIMES * _high(cpus) >> order), whole, MOST >> order)
    if blocks:
        _processes(bench, cpus, order, blocks, text)
        _workers(bench, cpus, order, blocks, text)


def _high(cpus: Sequence[int]) -> int:
    """Return how many pages the longest list of a CPU holds now at most; 0: unknown."""
    each = (zone.values.get("high", {}) for zone in cpu_lists.read())
    return max((high for by_cpu in each for cpu, high in by_cpu.items() if cpu in cpus), default=0)


def _processes(bench: Bench, cpus: Sequence[int], order: int, blocks: int, text: str) -> None:
    """Have a process on each CPU get as much memory as so many blocks, and give it back."""
    board = slate.Slate(len(cpus), 0, 0)
    shares = [[worker] for worker in range(len(cpus))]
    size = blocks * (procfs.page_size() << order)

    def body(board: slate.Slate, share: Sequence[int]) -> None:
        processes.pass_through(board, share[0], cpus[share[0]], size, order)

    with Crew(bench, f"{PATTERN}{text}", board, shares, body) as crew:
        crew.await_ready()
    board.close()


def _workers(bench: Bench, cpus: Sequence[int], order: int, blocks: int, text: str) -> None:
    """Have the worker of each CPU take so many blocks, and give their pages back."""
    device = bench.device
    parameters = {"blocks": blocks, "order": order, "keep": 1 << order, "every": 1 << order}
    try:
        device.configure(
            pattern=PATTERN, parameters=parameters, order=0, seed=bench.options.seed, cpus=cpus,
            time_one_in=0, sample_capacity=0,
        )  # fmt: skip
    except OSError as error:
        why = recorded.offline(cpus) or error.strerror
        raise RunnerError(f"the module cannot prepare to empty the CPUs' lists: {why}") from error
    device.start()
    end = time.monotonic() + _END_S
    while (progress := device.progress()).steady < progress.workers:
        gone = recorded.offline(cpus) if progress.displaced else ""
        if gone or time.monotonic() > end:
            raise RunnerError(f"the CPUs' lists could not be emptied{text}: {gone or 'too slow'}")
        bench.reporter.tick(f"{text}, emptying the CPUs' lists")
        time.sleep(0.02)
    device.stop()
