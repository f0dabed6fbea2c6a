# SPDX-License-Identifier: GPL-2.0-only
"""Every check before a run, on a host that is a directory of files; a few on this very host."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_host import (
    CLOCK,
    CPU,
    FOUND,
    SWAP_FILE,
    SYSTEMCTL_ALL,
    kernel,
    logind,
    look,
    make,
    meminfo,
    sysctl,
)
from page_alloc_bench.runner.preflight.check import NOTE, REFUSE, WARN

ZSWAP = {"sys/module/zswap/parameters/enabled": "Y"}
NOT_FOUND: list[tuple[dict[str, str], str]] = [
    ({**sysctl("vm.overcommit_memory", "2"), "proc/meminfo": meminfo(commit=32)}, ""),
    ({**sysctl("kernel.hung_task_panic", "1"), **sysctl("kernel.hung_task_timeout_secs", "0")}, ""),
    ({**sysctl("kernel.hardlockup_panic", "1"), **sysctl("kernel.nmi_watchdog", "0")}, ""),
    (ZSWAP, ""),
    (logind("yes", only="", spared="root"), ""),
    (logind("no", only="", spared="root"), "--detach"),
    (logind("yes", only="", spared="root alice"), "--detach"),
    (logind("yes", only="bob", spared=""), "--detach"),
    (
        {
            "proc/self/cgroup": "0::/system.slice/ssh.service\n",
            "usr/bin/systemctl": SYSTEMCTL_ALL.format(killmode="process", oompolicy="continue"),
        },
        "--detach",
    ),
    ({f"{CPU}/isolated": ""}, "--cpus 1"),
    ({"proc/self/cgroup": "0::/system.slice/bench.service\n"}, ""),
    (kernel("CONFIG_PAGE_OWNER"), ""),
    (kernel("CONFIG_PAGE_POISONING", "page_poison=0"), ""),
    (kernel("CONFIG_DEBUG_PAGEALLOC"), ""),
    (kernel("CONFIG_DEBUG_KMEMLEAK", "kmemleak=off"), ""),
    (kernel("CONFIG_DEBUG_KMEMLEAK_DEFAULT_OFF=y\nCONFIG_DEBUG_KMEMLEAK"), ""),
    (kernel("CONFIG_INIT_ON_ALLOC_DEFAULT_ON", "init_on_alloc=0"), ""),
    (kernel("CONFIG_SLUB_DEBUG_ON", "slub_debug=-"), ""),
    ({CLOCK: "hpet"}, "--latencies none"),
    ({"proc/meminfo": meminfo(1, 0.9)}, "--alloc-orders 0 --sample-size 4194304 --latencies none"),
    ({"proc/meminfo": meminfo(1, 0.9)}, "--alloc-orders 0 --sample-size 200000"),
    ({"sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]"}, "--thp never"),
]


def test_there_is_nothing_to_say_about_a_good_host(tmp_path: Path) -> None:
    assert look(make(tmp_path, {})) == []


@pytest.mark.parametrize(
    ("name", "severity", "changes", "arguments"),
    FOUND,
    ids=[f"{name}-{severity}-{number}" for number, (name, severity, *_) in enumerate(FOUND)],
)
def test_each_is_found_alone(
    tmp_path: Path, name: str, severity: str, changes: dict[str, str], arguments: str
) -> None:
    found = look(make(tmp_path, changes, arguments))
    assert set(found) == {(name, severity)}


@pytest.mark.parametrize(("changes", "arguments"), NOT_FOUND)
def test_what_does_no_harm_is_not_found(
    tmp_path: Path, changes: dict[str, str], arguments: str
) -> None:
    assert look(make(tmp_path, changes, arguments)) == []


def test_beside_another_copy_nothing_else_is_judged(tmp_path: Path) -> None:
    changes = {
        "proc/net/unix": "Num Path\n0: 2 0 10000 1 1 7 @page-alloc-bench\n",
        "proc/modules": "page_alloc_bench 20480 1 - Live 0x0 (OE)\n",
        "proc/meminfo": meminfo(available=0.1),
    }
    assert look(make(tmp_path, changes, "--preflight")) == [("another-copy", REFUSE)]


def test_zswap_before_swap(tmp_path: Path) -> None:
    found = look(make(tmp_path, {**SWAP_FILE, **ZSWAP}))
    assert set(found) == {("swap", WARN), ("zswap", WARN)}


def test_cpus_that_nobody_asked_to_leave_out(tmp_path: Path) -> None:
    assert look(make(tmp_path, {}, affinity={0, 1})) == [("cpu-affinity", WARN)]
    assert look(make(tmp_path / "b", {}, "--cpus 0", affinity={0, 1})) == []


def test_isolated_cpus_are_not_also_said_to_be_left_out(tmp_path: Path) -> None:
    host = make(tmp_path, {f"{CPU}/isolated": "2-3"}, affinity={0, 1})
    assert look(host) == [("isolated-cpus", NOTE)]
