# SPDX-License-Identifier: GPL-2.0-only
"""findlimit's parts that need no memory to be exhausted: plans, counting, watching, judging."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from page_alloc_bench.runner.errors import FindlimitError
from page_alloc_bench.runner.kernel import memory, oom_log
from page_alloc_bench.runner.lifetime import alone
from page_alloc_bench.runner.measuring.findlimit import measure, populate
from page_alloc_bench.runner.measuring.findlimit.board import Board

GIB = 1 << 30
HUGE = 2 << 20


@pytest.mark.parametrize(
    ("cpus", "memory_bytes", "huge"),
    [
        (2, 1 * GIB, HUGE),
        (4, 2 * GIB, HUGE),
        (1, 16 * GIB, HUGE),
        (64, 16 * GIB, 512 << 20),  # arm64 with pages of 64 KiB
        (512, 12 << 40, HUGE),
        (1024, 4 * GIB, HUGE),
    ],
)
def test_plans_count_to_a_thousandth(cpus: int, memory_bytes: int, huge: int) -> None:
    work = populate.plan(tuple(range(cpus)), memory_bytes, memory_bytes, huge, "inherit")
    assert cpus * work.piece_bytes <= max(memory_bytes // 1000, cpus * min(huge, 256 << 10))
    assert work.block_bytes % work.piece_bytes == 0
    assert work.block_bytes % huge == 0
    assert work.mapping_bytes % work.block_bytes == 0
    assert memory_bytes <= work.mapping_bytes < memory_bytes + work.block_bytes


def test_large_machines_take_large_steps() -> None:
    assert (
        populate.plan(tuple(range(512)), 12 << 40, 12 << 40, HUGE, "never").piece_bytes >= 8 * HUGE
    )
    assert populate.plan((0,), 12 << 40, 12 << 40, HUGE, "never").piece_bytes == 32 << 20


def test_the_board_is_shared_with_a_child() -> None:
    board = Board(3)
    assert (board.started_ns, board.populated_bytes, board.reason) == (0, 0, "")
    pid = os.fork()
    if pid == 0:
        for thread in range(3):
            board.enlist(thread)
            words, index = board.counter(thread)
            words[index] = 10**15 + thread
        board.displace(1)
        board.start(4096)
        board.fail("é" * 2000)
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.populated_bytes == 3 * 10**15 + 3
    assert board.thread_ids == {pid}
    assert board.displaced == [1]
    assert board.baseline_bytes == 4096
    assert 0 < board.started_ns <= time.monotonic_ns()
    assert board.reason == "é" * 512


class FakeLibc:
    """mmap that grants at most so much at once, and so much in all."""

    def __init__(self, once: int, in_all: int) -> None:
        self.once, self.left = once, in_all
        self.sizes: list[int] = []
        self._next = 1 << 40 | 4096

    def mmap(self, _address: int, size: int, *_: int) -> int:
        if size > self.once or size > self.left:
            ctypes.set_errno(errno.ENOMEM)
            return int(ctypes.c_size_t(-1).value)
        self.left -= size
        self.sizes.append(size)
        address, self._next = self._next, self._next + size
        return address


def ground(once: int, in_all: int, mapping: int = 64 * HUGE) -> tuple[Any, FakeLibc]:
    work = populate.plan((0, 1), 2 * GIB, mapping, HUGE, "inherit")
    libc = FakeLibc(once, in_all)
    return populate.Ground(libc, work), libc  # type: ignore[arg-type]


def test_blocks_are_aligned_and_distinct_over_mappings() -> None:
    land, libc = ground(once=GIB, in_all=GIB, mapping=3 * HUGE)
    claimed = [land.claim() for _ in range(10)]
    assert len(set(claimed)) == 10
    assert all(address % HUGE == 0 for address in claimed)
    assert libc.sizes == [4 * HUGE] * 4


def test_a_refused_mapping_is_halved() -> None:
    land, libc = ground(once=20 * HUGE, in_all=GIB)
    for _ in range(17):
        land.claim()
    assert libc.sizes == [17 * HUGE] * 2


def test_an_end_of_mappings_is_explained() -> None:
    land, _ = ground(once=GIB, in_all=4 * HUGE)
    for _ in range(2):
        land.claim()
    with pytest.raises(populate.CannotGoOnError, match=r"maps no 2048 KiB more after 0\.00 GiB"):
        land.claim()
    land, _ = ground(once=HUGE, in_all=GIB)
    with pytest.raises(populate.CannotGoOnError, match=r"maps no 2048 KiB at all"):
        land.claim()


class Log:
    """A kernel's log that holds what the test wants."""

    lost = False
    found: oom_log.Kill | None = None

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def kills(self) -> list[oom_log.Kill]:
        return [self.found] if self.found else []

    def await_kill(self, _pids: object, _timeout_s: float) -> oom_log.Kill | None:
        return self.found


@pytest.fixture
def as_child(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Board], None]], None]:
    """Return what makes the child run a given function, and the kernel's log say nothing."""
    monkeypatch.setattr(oom_log, "OomLog", Log)

    def use(body: Callable[[Board], None]) -> None:
        def run(_work: populate.Plan, board: Board, _parent: int) -> None:
            try:
                alone.reset_signals()
                body(board)
            finally:
                os._exit(7)

        monkeypatch.setattr(populate, "run", run)

    return use


SETTINGS = measure.Settings(cpus=(0,))


def no_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV"])
def test_a_death_without_a_kill_line_is_no_result(as_child: Any, name: str) -> None:
    as_child(lambda _: os.kill(os.getpid(), signal.Signals[name]))
    with pytest.raises(FindlimitError, match=f"killed by {name}"):
        measure.measure(SETTINGS)
    assert no_children()


def test_a_child_that_gives_up_is_quoted(as_child: Any) -> None:
    as_child(lambda board: board.fail("no thread may run on CPU 3: Invalid argument"))
    with pytest.raises(FindlimitError, match=r"gave up: no thread may run on CPU 3"):
        measure.measure(SETTINGS)
    as_child(lambda _: None)
    with pytest.raises(FindlimitError, match=r"gave up: exit status 7"):
        measure.measure(SETTINGS)


def test_progress_comes_from_the_board(as_child: Any) -> None:
    def work(board: Board) -> None:
        words, index = board.counter(0)
        words[index] = 12345
        time.sleep(1.5)

    seen: list[int] = []
    as_child(work)
    with pytest.raises(FindlimitError):
        measure.measure(SETTINGS, on_progress=seen.append)
    assert seen == [12345]


def test_whatever_is_raised_the_child_is_gone(as_child: Any) -> None:
    class StopError(BaseException):
        pass

    def stop(*_: object) -> None:
        raise StopError

    def measure_for(delay: float) -> None:
        # To this thread, as in the runner, which has no other: pytest's workers have.
        thread = threading.get_ident()
        threading.Timer(delay, signal.pthread_kill, (thread, signal.SIGALRM)).start()
        measure.measure(SETTINGS)

    as_child(lambda _: time.sleep(60))
    before = signal.signal(signal.SIGALRM, stop)
    try:
        for delay in (0.001, 0.002, 0.005, 0.01, 0.1):
            with pytest.raises(StopError):
                measure_for(delay)
            assert no_children()
        assert signal.SIGALRM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(signal.SIGALRM, before)

    def fail(_: int) -> None:
        raise RuntimeError("the terminal is gone")

    with pytest.raises(RuntimeError, match="terminal"):
        measure.measure(SETTINGS, on_progress=fail)
    assert no_children()


def test_an_unreadable_log_is_told_before_anything_happens(
    as_child: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    as_child(lambda _: None)
    monkeypatch.setattr(oom_log, "OomLog", refuse)
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a child was started"))
    with pytest.raises(FindlimitError, match=r"/dev/kmsg, cannot be read .Operation not permitted"):
        measure.measure(SETTINGS)


def confirmed(
    counted: int,
    anon: int,
    monkeypatch: pytest.MonkeyPatch,
    baseline: int = 0,
    **of_kill: Any,
) -> measure.Limit:
    """Measure with a child that says COUNTED, and a kernel that says ANON bytes and OF_KILL."""

    def die(board: Board) -> None:
        board.start(baseline)
        words, index = board.counter(0)
        words[index] = counted
        os.kill(os.getpid(), signal.SIGKILL)

    def run(_work: populate.Plan, board: Board, _parent: int) -> None:
        die(board)

    log = Log()
    sizes = {"anon-rss": anon, "file-rss": 1 << 20, "shmem-rss": 0}
    log.found = oom_log.Kill(1, populate.NAME, "Out of memory", sizes, "CONSTRAINT_NONE", **of_kill)
    monkeypatch.setattr(oom_log, "OomLog", lambda: log)
    monkeypatch.setattr(populate, "run", run)
    monkeypatch.setattr(measure, "BACK_TIMEOUT_S", 0.5)
    return measure.measure(SETTINGS)


def disagreements(limit: measure.Limit) -> list[str]:
    """Return the warnings of witnesses who disagree with the child."""
    return [line for line in limit.warnings if "counted" in line]


@pytest.mark.parametrize("where", ["in the task list", "in the totals"])
def test_what_is_in_swap_is_counted_too(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No witness has it: neither the kill line nor wait4 (here, nothing at all was resident)."""
    used = "Free swap  = 0kB", f"Total swap = {GIB >> 10}kB"
    if where == "in the task list":
        limit = confirmed(GIB, 0, monkeypatch, swapped_bytes=GIB, report=used)
        assert limit.swapped_bytes == limit.swap_used_bytes == GIB
    else:
        limit = confirmed(GIB, 0, monkeypatch, report=used)
    assert disagreements(limit) == []


def test_more_than_was_in_swap_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list says what was in swap: others may have had the rest of what the totals say."""
    used = "Free swap  = 0kB", f"Total swap = {GIB >> 10}kB"
    limit = confirmed(GIB, 0, monkeypatch, swapped_bytes=GIB // 2, report=used)
    for witness, line in zip(("the kernel's log", "wait4"), disagreements(limit)):
        assert f"counted {GIB} bytes, {witness} says" in line
        assert line.endswith(f", and {GIB // 2} in swap")
    assert len(disagreements(limit)) == 2
    # More than was counted is as wrong as less.
    (line,) = disagreements(confirmed(GIB, GIB, monkeypatch, swapped_bytes=GIB))
    assert "the kernel's log" in line


def test_a_witness_who_disagrees_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = confirmed(GIB, GIB // 2, monkeypatch)
    assert limit.available_bytes == GIB
    assert limit.oom_rss_bytes == GIB // 2 + (1 << 20)
    assert disagreements(limit) == [
        f"the child counted {GIB} bytes, the kernel's log says {GIB // 2}",
        f"the child counted {GIB} bytes, wait4 says {limit.rss_bytes}",
    ]


def test_the_oom_reaper_may_be_faster_than_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has freed is not in wait4's maximum; the log's line is from before it."""
    limit = confirmed(GIB, GIB, monkeypatch)
    assert limit.rss_bytes < GIB // 2
    assert disagreements(limit) == []


def test_a_child_that_got_nothing_was_resident_with_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reclaim may take of what it had before it began: that is not less than nothing."""
    limit = confirmed(0, 0, monkeypatch, baseline=GIB)
    assert (limit.available_bytes, limit.rss_bytes) == (0, 0)
    assert any("the kernel's log says" in warning for warning in limit.warnings)


def test_memory_that_stays_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _enough: -1)
    limit = confirmed(GIB, GIB, monkeypatch)
    assert "the memory was not all back after 0.5 s" in limit.warnings


def test_free_memory_includes_the_lists_of_each_cpu(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:  9000 kB\nMemFree:  100 kB\n")
    (tmp_path / "proc/zoneinfo").write_text(
        "Node 0, zone DMA\n  pages free     20\n  pagesets\n    cpu: 0\n"
        "              count:    3\n              high:     9\n    cpu: 10\n"
        "              count:    4\n"
    )
    page = os.sysconf("SC_PAGE_SIZE")
    root = str(tmp_path)
    assert memory.free_bytes(root=root) == 100 * 1024 + 7 * page
    assert memory.free_bytes(100 * 1024, root) == 100 * 1024
    assert memory.free_bytes(100 * 1024 + 1, root) == 100 * 1024 + 7 * page


def test_huge_pages_are_read(tmp_path: Path) -> None:
    root, directory = str(tmp_path), tmp_path / "sys/kernel/mm/transparent_hugepage"
    assert memory.thp_mode(root) is None
    assert memory.huge_page_bytes(root) >= HUGE
    directory.mkdir(parents=True)
    (directory / "enabled").write_text("always [madvise] never\n")
    (directory / "hpage_pmd_size").write_text("33554432\n")
    assert memory.thp_mode(root) == "madvise"
    assert memory.huge_page_bytes(root) == 32 << 20
