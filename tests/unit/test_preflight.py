# SPDX-License-Identifier: GPL-2.0-only
"""Every check before a run, on a host that is a directory of files; a few on this very host."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from page_alloc_bench.runner import options, session
from page_alloc_bench.runner.errors import HostUnfitError, UsageError
from page_alloc_bench.runner.kernel import cgroup
from page_alloc_bench.runner.lifetime.signals import Signals
from page_alloc_bench.runner.preflight import load, verdict
from page_alloc_bench.runner.preflight.check import NOTE, REFUSE, WARN, Check
from page_alloc_bench.runner.preflight.host import Host, Module, open_log

GIB_KB = 1 << 20
FILE_CHECKS = tuple(check for check in verdict.CHECKS if check not in load.CHECKS)
MEMINFO = (
    "MemTotal: {total} kB\nMemAvailable: {available} kB\nSwapTotal: 0 kB\n"
    "CommitLimit: {commit} kB\nCommitted_AS: 0 kB\n"
)
STATUS = "proc/self/status"
MOUNTINFO = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"
CLOCK = "sys/devices/system/clocksource/clocksource0/current_clocksource"
CONFIG = "boot/config-6.1"
SWAPS = "Filename Type Size Used Priority\n"


def meminfo(total: int = 16, available: float = 15, commit: int = 100) -> str:
    """/proc/meminfo of a host with so many GiB."""
    return MEMINFO.format(
        total=total * GIB_KB, available=int(available * GIB_KB), commit=commit * GIB_KB
    )


ESTIMATE = {
    "estimated_s": 40.0,
    "actual_s": None,
    "fills": 20,
    "fill_bytes": 1 << 30,
    "swap_bytes": 0,
    "cold": False,
    "probe": {
        "bytes": 30 << 20,
        "fills": 5,
        "duration_s": 1.0,
        "first_bytes_per_second": 1 << 30,
        "bytes_per_second": 1 << 30,
    },
    "reason": None,
}
# A host that there is nothing to say about.
GOOD = {
    "proc/meminfo": meminfo(),
    "proc/buddyinfo": "Node 0, zone Normal 1 1\n",
    "proc/vmstat": "oom_kill 0\n",
    "proc/zoneinfo": "Node 0, zone Normal\n",
    "proc/cmdline": "quiet",
    "proc/modules": "ext4 1000 1 - Live 0x0\n",
    "proc/net/unix": "Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 0 1 1 7 /run/x\n",
    "proc/swaps": SWAPS,
    "proc/1/comm": "systemd\n",
    "proc/1/environ": "HOME=/\0",
    "proc/self/cgroup": "0::/user.slice/session-1.scope\n",
    "proc/self/mountinfo": MOUNTINFO,
    STATUS: "Name: x\nMems_allowed_list:\t0-1\n",
    "proc/sys/vm/panic_on_oom": "0",
    "proc/sys/vm/oom_kill_allocating_task": "0",
    "proc/sys/vm/overcommit_memory": "0",
    "proc/sys/kernel/panic": "0",
    "proc/sys/kernel/softlockup_panic": "0",
    "proc/sys/kernel/hung_task_panic": "0",
    "proc/sys/kernel/hung_task_timeout_secs": "120",
    "proc/sys/kernel/modules_disabled": "0",
    "proc/sys/kernel/nmi_watchdog": "1",
    "sys/kernel/security/lockdown": "[none] integrity confidentiality",
    "sys/module/module/parameters/sig_enforce": "N",
    "sys/module/zswap/parameters/enabled": "N",
    "sys/class/watchdog/watchdog0/state": "inactive",
    "sys/fs/cgroup/cgroup.controllers": "memory\n",
    "sys/fs/cgroup/user.slice/memory.max": "max\n",
    "sys/fs/cgroup/user.slice/memory.high": "max\n",
    "sys/fs/cgroup/user.slice/memory.oom.group": "0\n",
    "sys/fs/cgroup/user.slice/session-1.scope/memory.max": "max\n",
    "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "0",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    f"{CPU}/present": "0-3",
    f"{CPU}/online": "0-3",
    f"{CPU}/isolated": "",
    f"{CPU}/nohz_full": "(null)",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "performance",
    f"{NODE}/online": "0-1",
    f"{NODE}/has_memory": "0-1",
    CLOCK: "tsc",
    CONFIG: "CONFIG_SMP=y\n# CONFIG_KASAN is not set\n",
    "dev/kmsg": "",
    "run/systemd/system/x": "",
    "usr/bin/systemctl": "#!/bin/sh\necho continue\n",
}
LINKS = {"proc/self/ns/pid": "pid:[4026531836]", "proc/self/ns/user": "user:[4026531837]"}
# What loginctl says of itself, and of the session 1 of alice.
LOGINCTL = """#!/bin/sh
case "$2 $4" in
"--property=KillUserProcesses ") echo {kill} ;;
"--property=KillOnlyUsers ") echo {only} ;;
"--property=KillExcludeUsers ") echo {spared} ;;
"--property=Name 1") echo alice ;;
esac
"""
SYSTEMCTL_ALL = """#!/bin/sh
case $2 in
--property=KillMode) echo {killmode} ;;
--property=OOMPolicy) echo {oompolicy} ;;
esac
"""
SYSTEMCTL_STOP = '#!/bin/sh\n[ "$5" = bench.service ] && echo stop\n'


def make(root: Path, changes: dict[str, str | None], arguments: str = "", **other: Any) -> Host:
    """Make a good host with changes: files to write, or None to leave one out."""
    for name, text in {**GOOD, **changes}.items():
        path = root / name
        if text is None:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.startswith("proc/self/ns/"):
            path.symlink_to(text)
        else:
            path.write_text(text)
            path.chmod(0o755)
    for name, target in LINKS.items():
        if name not in changes:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(target)
    settings: dict[str, Any] = {
        "root": str(root),
        "affinity": {0, 1, 2, 3},
        "euid": 0,
        "release": "6.1",
        "inherited": dict,  # what this process has is not the host's
        "open_log": lambda path: os.open(path, os.O_RDONLY),  # only root can make devices
        "bundle": "/root/bench.run",
        "arguments": arguments,
        "by_sudo": False,
        **other,
    }
    return Host(options.parse(arguments.split()), **settings)


def look(host: Host) -> list[tuple[str, str]]:
    """Return name and severity of what all checks but that of load find."""
    cgroup.own.cache_clear()
    return [(finding.name, finding.severity) for finding in verdict.look(host, FILE_CHECKS)]


def sysctl(name: str, value: str) -> dict[str, str]:
    return {f"proc/sys/{name.replace('.', '/')}": value}


def kernel(option: str, cmdline: str = "") -> dict[str, str]:
    return {CONFIG: f"{option}=y\n" if option else "", "proc/cmdline": cmdline}


def logind(kill: str, *, only: str, spared: str) -> dict[str, str]:
    return {"usr/bin/loginctl": LOGINCTL.format(kill=kill, only=only, spared=spared)}


SCOPE = "sys/fs/cgroup/user.slice/session-1.scope"
SWAP_FILE = {"proc/swaps": SWAPS + "/swapfile file 1000 0 -2\n"}
SWAP_ZRAM = {"proc/swaps": SWAPS + "/dev/zram0 partition 1000 0 100\n"}
ZSWAP = {"sys/module/zswap/parameters/enabled": "Y"}
FOUND: list[tuple[str, str, dict[str, str], str]] = [
    ("panic-on-oom", REFUSE, sysctl("vm.panic_on_oom", "1"), ""),
    ("panic-on-oom", REFUSE, sysctl("vm.panic_on_oom", "2"), ""),
    ("oom-kill-allocating-task", REFUSE, sysctl("vm.oom_kill_allocating_task", "1"), ""),
    (
        "overcommit",
        REFUSE,
        {**sysctl("vm.overcommit_memory", "2"), "proc/meminfo": meminfo(commit=8)},
        "",
    ),
    ("oom-daemon", REFUSE, {"proc/77/comm": "earlyoom\n"}, ""),
    ("oom-daemon", REFUSE, {"proc/77/comm": "systemd-oomd\n"}, ""),
    (
        "oom-daemon",
        REFUSE,
        {
            "proc/77/comm": "python3\n",
            "proc/77/cmdline": "python3\0-u\0/usr/local/sbin/nohang\0--monitor\0",
        },
        "",
    ),
    (
        "oom-policy",
        REFUSE,
        {
            "proc/self/cgroup": "0::/system.slice/bench.service\n",
            "usr/bin/systemctl": SYSTEMCTL_STOP,
        },
        "",
    ),
    (
        "oom-policy",
        WARN,
        {"proc/self/cgroup": "0::/user.slice/user-1.slice/user@1.service/app.slice/a.service\n"},
        "",
    ),
    (
        "unit-end",
        REFUSE,
        {
            "proc/self/cgroup": "0::/system.slice/agent.service\n",
            "usr/bin/systemctl": SYSTEMCTL_ALL.format(
                killmode="control-group", oompolicy="continue"
            ),
        },
        "--detach",
    ),
    ("kill-user-processes", REFUSE, logind("yes", only="", spared="root"), "--detach"),
    ("kill-user-processes", REFUSE, logind("yes", only="bob alice", spared="root"), "--detach"),
    ("oom-group", REFUSE, {"sys/fs/cgroup/user.slice/memory.oom.group": "1\n"}, ""),
    ("softlockup-panic", REFUSE, sysctl("kernel.softlockup_panic", "1"), ""),
    ("hung-task-panic", REFUSE, sysctl("kernel.hung_task_panic", "1"), ""),
    ("rcu-stall-panic", REFUSE, sysctl("kernel.panic_on_rcu_stall", "1"), ""),
    ("hardlockup-panic", WARN, sysctl("kernel.hardlockup_panic", "1"), ""),
    ("panic-on-warn", WARN, sysctl("kernel.panic_on_warn", "1"), ""),
    ("panic-reboot", NOTE, sysctl("kernel.panic", "-1"), ""),
    (
        "watchdog",
        REFUSE,
        {
            "sys/class/watchdog/watchdog0/state": "active",
            "sys/class/watchdog/watchdog0/timeout": "30",
        },
        "",
    ),
    (
        "watchdog",
        WARN,
        {
            "sys/class/watchdog/watchdog0/state": "active",
            "sys/class/watchdog/watchdog0/timeout": "600",
        },
        "",
    ),
    ("swap", WARN, SWAP_FILE, ""),
    ("swap", NOTE, SWAP_FILE, "--no-swap"),
    ("zram", WARN, SWAP_ZRAM, ""),
    ("zram", NOTE, SWAP_ZRAM, "--no-swap"),
    ("memory-cgroup", REFUSE, {"sys/fs/cgroup/user.slice/memory.max": "1073741824\n"}, ""),
    ("memory-cgroup", REFUSE, {f"{SCOPE}/memory.high": "1073741824\n"}, ""),
    ("cpuset", REFUSE, {STATUS: "Mems_allowed_list:\t1\n"}, ""),
    ("container", REFUSE, {"run/.containerenv": ""}, ""),
    ("container", REFUSE, {"proc/1/environ": "A=b\0container=lxc\0"}, ""),
    ("pid-namespace", REFUSE, {"proc/self/ns/pid": "pid:[4026532000]"}, ""),
    ("user-namespace", REFUSE, {"proc/self/ns/user": "user:[4026532000]"}, ""),
    ("modules-disabled", REFUSE, sysctl("kernel.modules_disabled", "1"), ""),
    ("lockdown", REFUSE, {"sys/kernel/security/lockdown": "none [integrity] confidentiality"}, ""),
    ("sig-enforce", REFUSE, {"sys/module/module/parameters/sig_enforce": "Y"}, ""),
    (
        "another-copy",
        REFUSE,
        {"proc/net/unix": "Num Path\n0: 2 0 10000 1 1 7 @page-alloc-bench\n"},
        "--preflight",
    ),
    ("stale-module", WARN, {"proc/modules": "page_alloc_bench 20480 0 - Live 0x0 (OE)\n"}, ""),
    ("stale-module", REFUSE, {"proc/modules": "page_alloc_bench 20480 1 - Live 0x0 (OE)\n"}, ""),
    ("kasan", WARN, kernel("CONFIG_KASAN"), ""),
    ("kmsan", WARN, kernel("CONFIG_KMSAN"), ""),
    ("kcsan", WARN, kernel("CONFIG_KCSAN"), ""),
    ("kcov", WARN, kernel("CONFIG_KCOV"), ""),
    ("lockdep", WARN, kernel("CONFIG_PROVE_LOCKING"), ""),
    ("lock-stat", WARN, kernel("CONFIG_LOCK_STAT"), ""),
    ("debug-vm", WARN, kernel("CONFIG_DEBUG_VM"), ""),
    ("debug-pagealloc", WARN, kernel("CONFIG_DEBUG_PAGEALLOC", "debug_pagealloc=on"), ""),
    (
        "debug-pagealloc",
        WARN,
        kernel("CONFIG_DEBUG_PAGEALLOC_ENABLE_DEFAULT=y\nCONFIG_DEBUG_PAGEALLOC"),
        "",
    ),
    ("page-owner", WARN, kernel("CONFIG_PAGE_OWNER", "page_owner=off page_owner=on"), ""),
    ("page-poisoning", WARN, kernel("CONFIG_PAGE_POISONING", "page_poison=1"), ""),
    (
        "page-table-check",
        WARN,
        kernel("CONFIG_PAGE_TABLE_CHECK_ENFORCED=y\nCONFIG_PAGE_TABLE_CHECK"),
        "",
    ),
    ("kmemleak", WARN, kernel("CONFIG_DEBUG_KMEMLEAK"), ""),
    ("init-on-free", WARN, kernel("", "init_on_free=1"), ""),
    ("init-on-alloc", NOTE, kernel("CONFIG_INIT_ON_ALLOC_DEFAULT_ON"), ""),
    ("slub-debug", WARN, kernel("", "slub_debug=FZ"), ""),
    ("slub-debug", WARN, kernel("CONFIG_SLUB_DEBUG_ON"), ""),
    ("governor", WARN, {f"{CPU}/cpu3/cpufreq/scaling_governor": "schedutil"}, ""),
    ("turbo", NOTE, {f"{CPU}/intel_pstate/no_turbo": "0"}, ""),
    ("turbo", NOTE, {f"{CPU}/cpufreq/boost": "1"}, ""),
    ("clocksource", NOTE, {CLOCK: "hpet"}, ""),
    ("clocksource", NOTE, {CLOCK: "acpi_pm"}, ""),
    ("ticking-clock", WARN, {CLOCK: "refined-jiffies"}, ""),
    ("offline-cpus", NOTE, {f"{CPU}/online": "0-3", f"{CPU}/present": "0-4"}, ""),
    ("isolated-cpus", NOTE, {f"{CPU}/isolated": "2-3"}, "--cpus 0,1"),
    ("memoryless-nodes", NOTE, {f"{NODE}/online": "0-2"}, ""),
    ("hugetlb", WARN, {"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "8"}, ""),
    ("short-memory", WARN, {"proc/meminfo": meminfo(available=7)}, ""),
    ("short-memory", REFUSE, {"proc/meminfo": meminfo(available=1.1)}, ""),
    ("antagonist-size", REFUSE, {"proc/meminfo": meminfo()}, "--held 400000 --alloc-orders 0,9"),
    (
        "antagonist-size",
        REFUSE,
        {"proc/meminfo": meminfo(1, 0.9)},
        "--alloc-orders 0 --sample-size 4194304",
    ),
    (
        "thp",
        WARN,
        {"sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]"},
        "--thp always",
    ),
]
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


def test_rights_and_module(tmp_path: Path) -> None:
    assert look(make(tmp_path, {}, euid=1000)) == [("root", REFUSE)]
    module = Module(problem="this host runs 6.1, and the bundle holds 6.2; build one")
    assert look(make(tmp_path / "b", {}, module=module)) == [("module", REFUSE)]


MADE_FOR = {"build_id": None, "version": "#1 SMP Mon", "config": None}


def other_build(host: Host) -> list[tuple[str, str]]:
    """Severity and words of what is found about the build that the module is for."""
    findings = verdict.look(host, FILE_CHECKS)
    return [(each.severity, each.line()) for each in findings if each.name == "other-build"]


def test_a_module_of_another_build_is_refused(tmp_path: Path) -> None:
    module = Module(build=MADE_FOR)
    assert look(make(tmp_path / "same", {}, module=module, version="#1 SMP Mon")) == []
    host = make(tmp_path / "other", {}, module=module, version="#2 SMP Tue")
    assert look(host) == [("other-build", REFUSE)]
    ((_, line),) = other_build(host)
    assert "another build of 6.1: its uname -v is #1 SMP Mon, and this kernel's #2 SMP Tue" in line
    assert "--kdir TREE" in line


def test_the_notes_of_the_kernel_decide_before_its_version(tmp_path: Path) -> None:
    notes = struct.pack("=III", 4, 4, 3) + b"GNU\0" + bytes.fromhex("0123abcd")
    module = Module(build={**MADE_FOR, "build_id": "0123abcd"})
    host = make(tmp_path, {}, module=module, version="#2 SMP Tue")
    (tmp_path / "sys/kernel/notes").write_bytes(notes)
    assert look(host) == []
    (tmp_path / "sys/kernel/notes").write_bytes(notes[:-4] + b"\0\0\0\0")
    ((severity, line),) = other_build(host)
    assert severity == REFUSE
    assert "its build id is 0123abcd, and this kernel's 00000000" in line


def test_a_build_that_is_not_known_is_warned_of(tmp_path: Path) -> None:
    unknown = {"build_id": None, "version": None, "config": None}
    host = make(tmp_path, {}, module=Module(build=unknown))
    ((severity, line),) = other_build(host)
    assert severity == WARN
    assert "perhaps another build of 6.1: it is not known which build that was" in line


def test_headers_of_another_build_are_refused_too(tmp_path: Path) -> None:
    module = Module(build=MADE_FOR, headers="/lib/modules/6.1/build")
    host = make(tmp_path, {}, "--build-on-target", module=module, version="#2 SMP Tue")
    ((severity, line),) = other_build(host)
    assert severity == REFUSE
    assert line.startswith("the tree /lib/modules/6.1/build is another build of 6.1: ")


def test_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    assert look(make(tmp_path, {"dev/kmsg": None})) == [("kernel-log", REFUSE)]


def test_what_stands_in_the_log_s_place_is_told(tmp_path: Path) -> None:
    host = make(tmp_path, {"dev/kmsg": "not a device"}, open_log=open_log)
    (finding,) = verdict.look(host, FILE_CHECKS)
    assert (finding.name, finding.severity) == ("kernel-log", REFUSE)
    assert "it is a regular file, not the kernel's log" in finding.found
    assert "mknod -m 644 /dev/kmsg c 1 11" in finding.advice


PROC = ("buddyinfo", "meminfo", "vmstat", "zoneinfo")
PID_ONLY = MOUNTINFO + "40 1 0:50 / /proc rw,relatime - proc proc rw,subset=pid\n"


@pytest.mark.parametrize(
    ("changes", "said", "command"),
    [
        (
            {**dict.fromkeys(f"proc/{name}" for name in PROC), "proc/self/mountinfo": PID_ONLY},
            "/proc is mounted with subset=pid, which leaves out /proc/buddyinfo",
            "mount -t proc proc /proc",
        ),
        (
            dict.fromkeys(name for name in GOOD if name.startswith("proc/")),
            "/proc is not mounted",
            "mount -t proc proc /proc",
        ),
        (
            {"proc/zoneinfo": None},
            "/proc is masked, or something else is mounted there: no /proc/zoneinfo",
            "mount -t proc proc /proc",
        ),
        (
            dict.fromkeys(name for name in GOOD if name.startswith("sys/")),
            "/sys is not mounted",
            "mount -t sysfs sysfs /sys",
        ),
        (
            {f"{CPU}/online": None},
            "/sys is masked, or something else is mounted there: no /sys/devices/system/cpu/online",
            "mount -t sysfs sysfs /sys",
        ),
    ],
)
def test_proc_and_sys_that_are_not_whole_are_told_for_what_they_are(
    tmp_path: Path, changes: dict[str, str | None], said: str, command: str
) -> None:
    links = dict.fromkeys((name for name in LINKS if said.startswith(f"/{name[:3]}")), None)
    host = make(tmp_path, {**links, **changes} if "not mounted" in said else changes)
    (finding,) = verdict.look(host, FILE_CHECKS)  # and nothing else, which could not be seen
    assert (finding.name, finding.severity) == ("kernel-files", REFUSE)
    assert finding.found == said
    assert finding.commands == (command,)
    assert not finding.acceptable


def test_a_configuration_that_is_not_known(tmp_path: Path) -> None:
    assert look(make(tmp_path, {CONFIG: None})) == [("kernel-config", NOTE)]
    of_the_build = Module(config={"sha256": "0", "options": {"KASAN": "y"}})
    host = make(tmp_path / "b", {CONFIG: None}, module=of_the_build)
    assert look(host) == [("kasan", WARN)]


def test_a_signed_module_may_be_loaded(tmp_path: Path) -> None:
    changes = {
        "sys/kernel/security/lockdown": "none [integrity] confidentiality",
        "sys/module/module/parameters/sig_enforce": "Y",
    }
    found = look(make(tmp_path, changes, module=Module(signed=True)))
    assert set(found) == {("lockdown", NOTE), ("sig-enforce", NOTE)}


def test_nothing_is_claimed_of_a_clock_that_nobody_has_calibrated(tmp_path: Path) -> None:
    """What user space pays for a reading, a system call perhaps, says nothing of the module's."""
    for name in ("tsc", "kvm-clock", "xen", "hyperv_clocksource_tsc_page", "arch_sys_counter"):
        assert look(make(tmp_path / name, {CLOCK: name})) == []
    (finding,) = verdict.look(make(tmp_path / "hpet", {CLOCK: "hpet"}), FILE_CHECKS)
    assert not re.search(r"\d+ ns", finding.line())
    assert "much of each" not in finding.line()
    assert look(make(tmp_path / "none", {CLOCK: "hpet"}, "--latencies none")) == []


def test_room_for_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = namedtuple("disk", "f_blocks f_bfree f_frsize")
    host = make(tmp_path, {}, f"--output-path {tmp_path}/r.json --sample-size 100000")
    assert look(host) == []
    monkeypatch.setattr(os, "statvfs", lambda _path: disk(9000, 1000, 4096))
    assert look(host) == [("output-room", REFUSE)]
    assert look(dataclasses.replace(host, options=options.parse(["--output-path=/dev/null"]))) == []
    monkeypatch.setattr(os, "statvfs", lambda _path: disk(0, 0, 4096))  # /proc: nothing opens there
    assert look(host) == []


def test_a_check_that_fails_is_a_finding(tmp_path: Path) -> None:
    class Broken(Check):
        name = "broken"

        def found(self, _host: Host) -> str | None:
            raise ValueError("what is this?")

    (finding,) = verdict.look(make(tmp_path, {}), [Broken()])
    assert (finding.name, finding.severity) == ("broken", WARN)
    assert "ValueError: what is this?" in finding.found


def test_every_check_has_been_seen_to_find() -> None:
    elsewhere = {
        "zswap", "cpu-affinity", "root", "module", "other-build", "kernel-log", "kernel-config",
        "output-room", "load", "timeout", "capabilities", "inherited",
        "kernel-files", "held-memory",
    }  # fmt: skip
    names = [check.name for check in verdict.CHECKS]
    assert len(set(names)) == len(names)
    assert {name for name, *_ in FOUND} | elsewhere == set(names)


def test_every_check_says_what_it_means_and_how_to_change_it() -> None:
    for check in verdict.CHECKS:
        assert check.severity in (REFUSE, WARN, NOTE), check.name
        assert len(check.meaning) > 15, check.name
        assert len(check.advice) > 5, check.name


def test_the_worst_comes_first_and_refuses(tmp_path: Path) -> None:
    changes = {**sysctl("vm.panic_on_oom", "1"), **SWAP_FILE, **sysctl("kernel.panic", "5")}
    host = make(tmp_path, changes)
    found = verdict.look(host, FILE_CHECKS)
    assert [finding.name for finding in found] == ["panic-on-oom", "swap", "panic-reboot"]
    records = [verdict.as_record(finding, host) for finding in found]
    assert [record["name"] for record in verdict.refused(records)] == ["panic-on-oom"]
    text = verdict.table(records, 10)
    assert "or accept it: --accept panic-on-oom" in text
    assert "sysctl vm.panic_on_oom=0" in text
    assert "7 of 10 checks found nothing" in text
    assert "    sysctl vm.panic_on_oom=0" in text.splitlines()  # to be copied
    assert all(len(line) <= 100 for line in text.splitlines())


def test_what_is_accepted_does_not_refuse(tmp_path: Path) -> None:
    host = make(tmp_path, sysctl("vm.panic_on_oom", "1"), "--accept panic-on-oom,swap")
    records = [verdict.as_record(f, host) for f in verdict.look(host, FILE_CHECKS)]
    assert [record["accepted"] for record in records] == [True]
    assert verdict.refused(records) == []
    assert verdict.table(records, 10).endswith("a run may begin")


def test_accepting_what_there_is_not_is_a_mistake() -> None:
    with pytest.raises(UsageError, match=r"no check is called nonsense\. There are: .*oom-daemon"):
        verdict.examine(options.parse(["--accept", "swap,nonsense"]))
    with pytest.raises(UsageError, match=r"called swop\. Did you mean swap\?"):
        verdict.examine(options.parse(["--accept", "swop"]))
    with pytest.raises(UsageError, match=r"called oom-deamon\. Did you mean oom-daemon\?"):
        verdict.examine(options.parse(["--accept", "oom-deamon"]))


# Without these no run can begin: whoever accepts them gets another refusal, or the kernel's.
NOT_ACCEPTABLE = {
    "root", "module", "modules-disabled", "lockdown", "sig-enforce", "another-copy", "stale-module",
    "kernel-log", "pid-namespace", "user-namespace",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(NOT_ACCEPTABLE))
def test_accepting_what_no_run_can_begin_with_is_a_mistake(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} cannot be accepted"):
        verdict.examine(options.parse(["--accept", name]))


def test_nobody_is_told_to_accept_what_cannot_be_accepted(tmp_path: Path) -> None:
    seen = set()
    for number, (_, severity, changes, arguments) in enumerate(FOUND):
        host = make(tmp_path / str(number), changes, arguments)
        cgroup.own.cache_clear()
        for record in (verdict.as_record(f, host) for f in verdict.look(host, FILE_CHECKS)):
            refuses, possible = severity == REFUSE, record["name"] not in NOT_ACCEPTABLE
            assert record["acceptable"] is possible
            for text in (verdict.refusal(record), verdict.table([record], 2)):
                assert ("--accept" in text) is (possible and refuses) or severity != REFUSE
            seen.add((refuses, possible))
    assert {(True, True), (True, False)} <= seen


# What is advised


def advised(host: Host, name: str) -> tuple[list[str], list[str]]:
    """Return the commands that the finding of that name has, and those that undo them."""
    cgroup.own.cache_clear()
    (found,) = [f for f in verdict.look(host, FILE_CHECKS) if f.name == name]
    record = verdict.as_record(found, host)
    return list(record["commands"]), list(record["undo"])


LIMITED = {"sys/fs/cgroup/user.slice/memory.max": "1073741824\n"}
SERVICE = {"proc/self/cgroup": "0::/system.slice/bench.service\n"}
# systemd as it answers: which units have an OOMPolicy, and what it says of a daemon's.
SYSTEMD = """#!/bin/sh
case "$2 $5" in
"--property=OOMPolicy bench.service") echo stop ;;
"--property=OOMPolicy init.scope") {scopes} ;;
"--property=TriggeredBy "*) echo {triggers} ;;
"--property=UnitFileState "*) echo {state} ;;
esac
"""


def systemd(scopes: str = "echo stop", triggers: str = "", state: str = "enabled") -> str:
    return SYSTEMD.format(scopes=scopes, triggers=triggers, state=state)


def test_a_limit_is_named_and_left_behind_with_the_options_that_were_given(tmp_path: Path) -> None:
    host = make(tmp_path, LIMITED, "--held 3 --spread 2")
    commands, _ = advised(host, "memory-cgroup")
    into = "echo $$ > /sys/fs/cgroup/cgroup.procs && exec"
    assert commands == [f"sh -c '{into} /root/bench.run --held 3 --spread 2'"]
    sudoer = dataclasses.replace(host, by_sudo=True)
    assert advised(sudoer, "memory-cgroup")[0] == [f"sudo {commands[0]}"]
    (found,) = verdict.look(host, FILE_CHECKS)
    assert found.found.startswith(
        "/sys/fs/cgroup/user.slice/memory.max limits this process to 1024"
    )


def test_a_limit_of_all_that_is_to_be_seen_cannot_be_left_behind(tmp_path: Path) -> None:
    host = make(tmp_path, {"sys/fs/cgroup/memory.max": "1073741824\n"})
    assert advised(host, "memory-cgroup") == ([], [])


@pytest.mark.parametrize(
    ("scopes", "policy"), [("echo stop", "-p OOMPolicy=continue "), ("true", "")]
)
def test_a_scope_gets_an_oom_policy_where_it_can_have_one(
    tmp_path: Path, scopes: str, policy: str
) -> None:
    changes = {**SERVICE, "usr/bin/systemctl": systemd(scopes)}
    for number, options_ in enumerate(("", "--detach")):
        commands, _ = advised(make(tmp_path / str(number), changes, options_), "oom-policy")
        assert commands == [f"systemd-run --scope {policy}/root/bench.run {options_}".rstrip()]


@pytest.mark.parametrize(
    ("triggers", "state", "commands", "undo"),
    [
        (
            "oomd.socket",
            "disabled",
            ["systemctl mask --runtime --now oomd.socket oomd.service"],
            [
                "systemctl unmask --runtime oomd.socket oomd.service",
                "systemctl start oomd.socket oomd.service",
            ],
        ),
        (
            "",
            "enabled",
            ["systemctl mask --runtime --now oomd.service"],
            ["systemctl unmask --runtime oomd.service", "systemctl start oomd.service"],
        ),
        ("", "transient", ["systemctl stop oomd.service"], []),
    ],
)
def test_a_daemon_is_ended_with_what_would_start_it_again(
    tmp_path: Path, triggers: str, state: str, commands: list[str], undo: list[str]
) -> None:
    daemon = {"proc/77/comm": "systemd-oomd\n", "proc/77/cgroup": "0::/system.slice/oomd.service\n"}
    told = {**daemon, "usr/bin/systemctl": systemd(triggers=triggers, state=state)}
    assert advised(make(tmp_path / "a", told), "oom-daemon") == (commands, undo)
    alone = {**told, "proc/77/cgroup": "0::/user.slice/session-1.scope\n"}
    assert advised(make(tmp_path / "b", alone), "oom-daemon") == (["kill 77"], [])


BY_PARAMETER = [
    "debug-pagealloc", "page-owner", "page-poisoning", "page-table-check", "kmemleak",
    "init-on-free", "init-on-alloc", "slub-debug",
]  # fmt: skip


@pytest.mark.parametrize("name", BY_PARAMETER)
def test_a_boot_parameter_that_is_advised_turns_it_off(tmp_path: Path, name: str) -> None:
    seen = 0
    for number, (found, _, changes, _) in enumerate(FOUND):
        if found != name:
            continue
        (finding,) = verdict.look(make(tmp_path / f"{number}a", changes), FILE_CHECKS)
        word = re.search(r"boot with (\S+=[a-z-]+)", finding.advice)
        assert word, finding.advice
        booted = {**changes, "proc/cmdline": f"{changes.get('proc/cmdline', '')} {word[1]}"}
        assert look(make(tmp_path / f"{number}b", booted)) == []
        seen += 1
    assert seen


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("sysctl vm.panic_on_oom=0", "sudo sysctl vm.panic_on_oom=0"),
        ("echo 0 > /sys/x", "sudo sh -c 'echo 0 > /sys/x'"),
        ("sudo bench.run", "sudo bench.run"),
    ],
)
def test_who_is_root_by_sudo_is_told_to_type_it(tmp_path: Path, line: str, typed: str) -> None:
    host = make(tmp_path, {})
    assert host.as_root(line) == line
    assert dataclasses.replace(host, by_sudo=True).as_root(line) == typed


class Said:
    """A reporter that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, kind: str) -> Any:
        return lambda text: self.lines.append((kind, text))


def test_a_run_says_what_was_found_or_what_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def finding(name: str, severity: str, accepted: bool = False) -> dict[str, Any]:
        return {"name": name, "severity": severity, "accepted": accepted, "line": name.upper()}

    def refusals() -> list[str]:
        return [f["name"] for f in verdict.refused(findings)]

    findings = [
        finding("a", REFUSE),
        finding("b", REFUSE, accepted=True),
        finding("c", REFUSE),
        finding("d", WARN),
        finding("e", NOTE),
    ]
    monkeypatch.setattr(session, "examine", lambda _options: (findings, refusals(), ESTIMATE))
    said = Said()
    with pytest.raises(HostUnfitError, match=r"^c$"):
        session.judge_host(options.parse([]), said, Signals())  # type: ignore[arg-type]
    assert said.lines == [("error", "a")]
    said.lines.clear()
    del findings[2], findings[0]
    told = session.judge_host(options.parse([]), said, Signals())  # type: ignore[arg-type]
    assert told == (findings, ESTIMATE)
    assert said.lines[0] == ("hint", "the run takes about 40 s: 20 fills of 1.00 GiB at 1.00 GiB/s")
    assert said.lines[1:] == [("warning", "B"), ("warning", "D"), ("note", "e: E")]


def test_a_timeout_that_is_too_short_is_told_with_what_it_costs(tmp_path: Path) -> None:
    def probed(*_: Any) -> dict[str, Any]:
        return ESTIMATE

    def found(arguments: str) -> list[str]:
        host = make(tmp_path / arguments.replace(" ", ""), {}, arguments, prober=probed)
        return [f.line() for f in verdict.look(host, FILE_CHECKS) if f.name == "timeout"]

    assert found("--timeout-s 41") == []
    (line,) = found("--timeout-s 20")
    assert "about 40 s, and --timeout-s allows 20 s" in line
    assert "order 4, antagonized" in line
    assert "order 0, idle" not in line


def test_without_a_timeout_no_check_takes_the_time_of_a_probe(tmp_path: Path) -> None:
    def probed(*_: Any) -> dict[str, Any]:
        raise AssertionError("nobody asked")

    assert look(make(tmp_path, {}, prober=probed)) == []


# This very host


def loads() -> list[str]:
    (check,) = load.CHECKS
    return [finding.found for finding in check.look(Host(options.parse([])))]


def test_a_busy_process_is_named() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)
        seen = [loads() for _ in range(3)]
    finally:
        busy.kill()
        busy.wait()
    # Where so many want the CPUs that it gets less than half of one, that is told.
    told = [line for lines in seen for line in lines]
    assert any(f"(PID {busy.pid})" in line or "CPUs together" in line for line in told)


def test_an_idle_process_is_not_named() -> None:
    idle = subprocess.Popen(["sleep", "60"])
    try:
        assert not any(f"(PID {idle.pid})" in line for line in loads())
    finally:
        idle.kill()
        idle.wait()


def test_a_daemon_that_kills_before_the_kernel_does_is_named(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep
    shutil.copy(sleep, tmp_path / "earlyoom")
    daemon = subprocess.Popen([tmp_path / "earlyoom", "60"])
    try:
        time.sleep(0.1)
        found = [f.line() for f in verdict.look(Host(options.parse([]))) if f.name == "oom-daemon"]
    finally:
        daemon.kill()
        daemon.wait()
    assert any(
        f"earlyoom is running (PID {daemon.pid})" in line and f"kill {daemon.pid}" in line
        for line in found
    )


@pytest.mark.parametrize("width", [40, 55, 66, 80])
def test_the_table_fits_the_terminal_and_cuts_no_word(tmp_path: Path, width: int) -> None:
    changes = {CLOCK: "hpet", **SWAP_FILE, f"{CPU}/isolated": "2-3"}
    host = make(tmp_path, changes, "--cpus 0,1")
    records = [
        {**vars(finding), "accepted": False, "line": finding.line()}
        for finding in verdict.look(host, FILE_CHECKS)
    ]
    assert len(records) >= 3
    text = verdict.table(records, 50, width)
    longest = max((len(word) for word in text.split()), default=0)
    assert max(map(len, text.splitlines())) <= max(width, longest + 6)
    told = " ".join(text.split())
    for record in records:
        for part in ("name", "found", "meaning", "advice"):
            assert record[part] in told
