# SPDX-License-Identifier: GPL-2.0-only
"""OOM kills are found in the kernel's log: in logs recorded on real kernels, and in odd ones."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from page_alloc_bench.runner.kernel import log as kernel_log
from page_alloc_bench.runner.kernel import oom_log

RECORDED = Path(__file__).parents[1] / "data" / "kmsg"
KILLED = (
    "Out of memory: Killed process 42 (pab-findlimit) total-vm:2295628kB, anon-rss:1883208kB, "
    "file-rss:5188kB, shmem-rss:4kB, UID:0 pgtables:3772kB oom_score_adj:1000"
)


def parse(*messages: str) -> list[oom_log.Kill]:
    parser = oom_log.Parser()
    for message in messages:
        parser.feed(message)
    return parser.kills


def records(path: Path) -> list[bytes]:
    """Split a recorded log: a record goes on in lines that begin with a space."""
    return re.findall(rb"[^\n]+\n(?: [^\n]*\n)*", path.read_bytes())


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.kmsg")), ids=lambda path: path.stem)
def test_recorded_logs(path: Path) -> None:
    messages = [kernel_log.kernel_message(record) for record in records(path)]
    kills = parse(*(text for text in messages if text is not None))
    assert len(kills) == 1
    kill = kills[0]
    whole = path.read_text()
    assert kill.name == "pab-findlimit"
    assert f"Killed process {kill.pid} (pab-findlimit)" in whole
    kind = "CONSTRAINT_MEMCG" if "memcg" in path.stem else "CONSTRAINT_NONE"
    assert kill.constraint == kind
    stated = re.findall(r"(?:anon|file|shmem)-rss:(\d+)kB", whole)
    assert len(stated) == 3
    assert kill.rss_bytes == 1024 * sum(map(int, stated))
    assert "invoked oom-killer" in kill.report[0]
    assert "Tasks state" in "".join(kill.report)
    assert not any(re.match(r"\[ *\d", line) for line in kill.report)
    assert kill.swap_used_bytes == (None if "memcg" in path.stem else 0)
    free = re.search(r"\bfree:(\d+) free_pcp:(\d+)", whole)
    assert (free is None) == ("memcg" in path.stem)
    pages = (None, None) if free is None else (int(free[1]) * 4096, int(free[2]) * 4096)
    assert (kill.free_bytes, kill.free_pcp_bytes) == pages


def test_there_are_recorded_logs() -> None:
    assert len(list(RECORDED.glob("*.kmsg"))) >= 4


def test_the_kill_line_suffices() -> None:
    (kill,) = parse(KILLED)
    assert (kill.pid, kill.constraint, kill.report) == (42, "", ())
    assert kill.sizes["pgtables"] == 3772 * 1024
    assert kill.rss_bytes == (1883208 + 5188 + 4) * 1024
    (kill,) = parse(KILLED.replace("Out of memory", "Memory cgroup out of memory"))
    assert kill.constraint == "CONSTRAINT_MEMCG"


def test_the_allocating_task_may_be_a_thread() -> None:
    (kill,) = parse(
        "a invoked oom-killer: gfp_mask=0x0",
        "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=0,task=pab-findlimit,pid=45,uid=0",
        KILLED.replace("Out of memory", "Out of memory (oom_kill_allocating_task)"),
    )
    assert (kill.pid, kill.constraint) == (42, "CONSTRAINT_CPUSET")


def test_a_report_belongs_to_one_kill() -> None:
    first, second = parse(
        "a invoked oom-killer: gfp_mask=0x0",
        "Free swap  = 1024kB",
        "Total swap = 4096kB",
        "oom-kill:constraint=CONSTRAINT_MEMORY_POLICY,task=sshd,pid=7,uid=0",
        "Out of memory: Killed process 7 (sshd) total-vm:1kB, anon-rss:2kB",
        KILLED,
    )
    assert (first.constraint, first.swap_used_bytes) == ("CONSTRAINT_MEMORY_POLICY", 3 << 20)
    assert (second.constraint, second.swap_used_bytes) == ("", None)


def test_a_summary_of_another_victim_is_not_taken() -> None:
    (kill,) = parse("oom-kill:constraint=CONSTRAINT_CPUSET,task=sshd,pid=7,uid=0", KILLED)
    assert kill.constraint == ""


def test_a_summary_in_parts_is_taken() -> None:
    (kill,) = parse("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null)", KILLED)
    assert kill.constraint == "CONSTRAINT_NONE"


def test_names_may_hold_anything() -> None:
    (kill,) = parse("Out of memory: Killed process 9 (a) (b: c) total-vm:1kB, anon-rss:2kB")
    assert (kill.pid, kill.name, kill.rss_bytes) == (9, "a) (b: c", 2048)


@pytest.mark.parametrize(
    "text",
    [
        "oom_reaper: reaped process 42 (pab-findlimit), now anon-rss:0kB",
        "x: " + KILLED,
        "Tasks in /a are going to be killed due to memory.oom.group set",
        "Out of memory: OOM victim 42 (pab-findlimit) is already exiting. Skip killing the task",
    ],
)
def test_other_messages_are_no_kills(text: str) -> None:
    assert parse(text) == []


def test_noise_is_not_kept() -> None:
    parser = oom_log.Parser()
    for number in range(10):
        parser.feed(f"usb {number}: noise")
    parser.feed(KILLED)
    assert parser.kills[0].report == ()


def test_only_the_kernel_itself_is_believed() -> None:
    text = KILLED.encode()
    assert kernel_log.kernel_message(b"3,812,24095317,-;" + text + b"\n KEY=value\n") == KILLED
    assert kernel_log.kernel_message(b"3,812,24095317,-,caller=T1;" + text + b"\n") == KILLED
    assert kernel_log.kernel_message(b"12,812,24095317,-;" + text + b"\n") is None  # user.warning
    assert kernel_log.kernel_message(b"garbage") is None


class Feed:
    """A stand-in for /dev/kmsg: a pipe whose packets are records."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "kmsg"
        os.mkfifo(self.path)
        self._keep = os.open(self.path, os.O_RDWR)
        self.reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def write(self, *messages: str) -> None:
        for message in messages:
            os.write(self._keep, f"3,1,1,-;{message}\n".encode())


def test_the_wait_for_a_line_is_bounded(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    with oom_log.OomLog(feed.reader) as log:
        start = time.monotonic()
        assert log.await_kill({42}, 0.2) is None
        assert 0.2 <= time.monotonic() - start < 2
        feed.write(KILLED)
        kill = log.await_kill({41, 42}, 10)
        assert kill is not None
        assert kill.pid == 42
        assert log.await_kill({43}, 0) is None
        assert log.kills() == [kill]


def test_overwritten_records_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed(tmp_path)
    answers: list[bytes | OSError] = [BrokenPipeError(), b"3,9,1,-;" + KILLED.encode() + b"\n"]
    answers.append(BlockingIOError())

    def read(_fd: int, _size: int) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, bytes):
            return answer
        raise answer

    with oom_log.OomLog(feed.reader) as log:
        assert not log.lost
        monkeypatch.setattr(os, "read", read)
        assert [kill.pid for kill in log.kills()] == [42]
        assert log.lost


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (
            "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
            [
                "[    170]     0   170     2084      290    49152       12             0 a b] c",
                "[     43]     0    42   573907   470000  3862528    51200          1000 pab-find",
            ],
        ),
        (
            "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem "
            "pgtables_bytes swapents oom_score_adj name",
            [
                "[    170]     0   170     3864      718      288      430         0    65536"
                "       12         -1000 sshd",
                "[     43]     0    42   573907   470000   469000     1000         0  3862528"
                "    51200          1000 pab-find",
            ],
        ),
    ],
    ids=["to 6.7", "from 6.8"],
)
def test_what_the_victim_had_in_swap(header: str, rows: list[str]) -> None:
    begin = "pab-findlimit invoked oom-killer: gfp_mask=0x140cca"
    swap = ["Free swap  = 0kB", "Total swap = 262140kB"]
    (kill,) = parse(begin, *swap, header, *rows, KILLED)
    assert kill.swapped_bytes == 51200 * os.sysconf("SC_PAGE_SIZE")
    assert kill.swap_used_bytes == 262140 * 1024
    assert kill.report == (begin, *swap)
    # Its thread, where the one that allocates is chosen.
    by_thread = KILLED.replace("process 42", "process 43")
    assert parse(begin, header, *rows, by_thread)[0].swapped_bytes == kill.swapped_bytes
    # Not named: nothing in swap. Without the list: not known. The next report starts again.
    assert parse(begin, header, rows[0], KILLED)[0].swapped_bytes == 0
    assert parse(begin, *swap, KILLED)[0].swapped_bytes is None
    first, second = parse(begin, header, *rows, KILLED, begin, header, rows[0], KILLED)
    assert (first.swapped_bytes, second.swapped_bytes) == (kill.swapped_bytes, 0)
    assert parse(begin, header, *rows, KILLED, KILLED)[1].swapped_bytes is None
