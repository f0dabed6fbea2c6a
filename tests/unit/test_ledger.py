# SPDX-License-Identifier: GPL-2.0-only
"""Where the machine's memory is, before a child begins and by the report of its OOM kill."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from page_alloc_bench.runner.kernel import log, memory_breakdown, oom_log

RECORDED = Path(__file__).parents[1] / "data" / "kmsg"
GLOBAL = sorted(RECORDED.glob("*-global.kmsg"))
MIB = 1 << 20

MEMINFO = """\
MemTotal: 1000000 kB
MemFree: 400000 kB
Active(anon): 1 kB
Inactive(anon): 2 kB
Active(file): 4 kB
Inactive(file): 8 kB
Unevictable: 16 kB
AnonPages: 77777 kB
Slab: 32 kB
KernelStack: 64 kB
PageTables: 128 kB
SecPageTables: 256 kB
"""
ZONEINFO = """\
Node 0, zone   Normal
  pages free     100000
        boost    0
        min      11
        low      22
  pagesets
    cpu: 0
              count: 3
              high:  378
    cpu: 1
              count: 4
Node 1, zone   Normal
        min      100
"""


def recorded_kill(path: Path) -> oom_log.Kill:
    parser = oom_log.Parser()
    for record in re.findall(rb"[^\n]+\n(?: [^\n]*\n)*", path.read_bytes()):
        text = log.kernel_message(record)
        if text is not None:
            parser.feed(text)
    (kill,) = parser.kills
    return kill


def test_there_are_recorded_reports() -> None:
    assert len(GLOBAL) >= 3


@pytest.mark.parametrize("path", GLOBAL, ids=lambda path: path.stem)
def test_the_parts_of_a_report_add_up_to_the_machine(path: Path) -> None:
    kill = recorded_kill(path)
    book = memory_breakdown.at_kill(kill.report)
    assert book is not None
    report = path.read_text()
    managed = sum(map(int, re.findall(r" managed:(\d+)kB", report))) * 1024
    assert book.total == managed
    assert (book.free, book.pcp) == (kill.free_bytes, kill.free_pcp_bytes)
    assert kill.rss_bytes is not None
    # The child had nearly all; the page cache and other processes had next to nothing.
    assert kill.sizes["anon-rss"] - 4 * MIB < book.user < kill.sizes["anon-rss"] + 32 * MIB
    assert kill.sizes["pgtables"] * 0.9 < book.page_tables < kill.sizes["pgtables"] + 4 * MIB
    # What the kernel counts nowhere was 13 to 21 MiB of 2 GiB in these guests.
    assert 8 * MIB < book.unnamed < 32 * MIB
    assert 0 < book.min_watermark <= book.free * 1.1


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*-memcg.kmsg")), ids=lambda path: path.stem)
def test_the_report_of_a_cgroup_says_nothing_of_the_machine(path: Path) -> None:
    assert memory_breakdown.at_kill(recorded_kill(path).report) is None


def test_how_it_is_now(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    (tmp_path / "proc/zoneinfo").write_text(ZONEINFO)
    book = memory_breakdown.now(str(tmp_path))
    assert book == memory_breakdown.Ledger(
        total=1_000_000 << 10,
        free=400_000 << 10,
        pcp=7 * 4096,
        user=31 << 10,
        slab=32 << 10,
        page_tables=384 << 10,
        kernel_stack=64 << 10,
        min_watermark=111 * 4096,
    )
    assert book.unnamed == (600_000 - 31 - 32 - 384 - 64 - 28) << 10


def test_this_machine_adds_up() -> None:
    book = memory_breakdown.now()
    assert 0 < book.free < book.total
    assert -0.01 * book.total < book.unnamed < 0.5 * book.total
