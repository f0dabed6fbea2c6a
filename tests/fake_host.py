# SPDX-License-Identifier: GPL-2.0-only
"""A host of files, which a test makes as it wants it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from page_alloc_bench.runner import options
from page_alloc_bench.runner.kernel import cgroup
from page_alloc_bench.runner.preflight import load, verdict
from page_alloc_bench.runner.preflight.check import NOTE, REFUSE, WARN
from page_alloc_bench.runner.preflight.host import Host

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
        if name.startswith("proc/self/ns/") or "/fd/" in name:
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
    (
        "watchdog",
        REFUSE,
        {
            "sys/class/watchdog/watchdog0/state": None,
            "sys/class/watchdog/watchdog0/uevent": "DEVNAME=watchdog0",
            "proc/12/fd/3": "/dev/watchdog0",
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
