# SPDX-License-Identifier: GPL-2.0-only
"""States of a host that the preflight has advice for, as commands that make and undo them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

BENCH = "/opt/bench.run"
SMALL = "--iterations=1 --alloc-orders=0 --held=50 --spread=50 --sample-size=1000 --quiet"
SWAP_ON = (
    "dd if=/dev/zero of=/swapfile bs=1M count=64 status=none && chmod 600 /swapfile "
    "&& mkswap -q /swapfile && swapon /swapfile"
)
SWAP_OFF = "swapoff /swapfile; rm -f /swapfile"
GROUP = (
    "echo '+memory +cpuset' > /sys/fs/cgroup/cgroup.subtree_control; mkdir -p /sys/fs/cgroup/pab; "
    "cd /sys/fs/cgroup/pab; "
)
UNGROUP = "rmdir /sys/fs/cgroup/pab"
IN_GROUP = "echo $$ > /sys/fs/cgroup/pab/cgroup.procs; {line}"
SERVICE = "systemd-run --pipe --wait --quiet {properties} sh -c {in_unit}"


@dataclass(frozen=True)
class State:
    """Something to be advised about.

    finding: what the preflight calls it. do, undo: what root types to bring it about, and to end
    it. options: of the run. within: how a shell runs a line where it is so, with {line} for it, or
    {script} where it has to be one word, {in_unit} where systemd reads
    that, to which $$ is a dollar. user: who types what is advised; None: any.
    """

    finding: str
    do: str = "true"
    undo: str = "true"
    options: str = SMALL
    within: str = "{line}"
    severity: str = "refuse"
    user: str | None = None

    def shell(self, line: str) -> str:
        """Return the line for a shell that runs line in this state."""
        in_unit = shlex.quote(line.replace("$", "$$"))
        return self.within.format(line=line, script=shlex.quote(line), in_unit=in_unit)


def sysctl(name: str, finding: str, value: int = 1, severity: str = "refuse") -> State:
    """Return the state in which a sysctl is not as it should be."""
    undo = f"sysctl -qw {name}=0"
    return State(finding, f"sysctl -qw {name}={value}", undo, severity=severity)


def limit(what: str, finding: str = "memory-cgroup", unit: str = "user.slice") -> State:
    """Return the state in which a slice has been given a limit that a new login does not lift.

    What is no longer limited to some nodes has to be given all first: systemd then takes the
    controller away, and on 6.12 processes stay on the nodes that they had.
    """
    name = what.partition("=")[0]
    lift = {"AllowedMemoryNodes": ["0-1", ""], "AllowedCPUs": ["0-1", ""]}.get(name, ["infinity"])
    severity = "warn" if finding == "cpu-affinity" else "refuse"
    to_set = f"systemctl set-property --runtime {unit} "
    undo = "; ".join(f"{to_set}{name}={value}" for value in lift)
    return State(finding, f"{to_set}{what}", undo, severity=severity)


def service(properties: str = "") -> str:
    """Return how to run a line in a service of systemd's."""
    return SERVICE.format(properties=properties, in_unit="{in_unit}")


FEED = 'exec 3>/dev/watchdog; trap "printf V >&3; exit" TERM; while :; do echo x >&3; sleep 2; done'
STATES = {
    "panic on OOM": sysctl("vm.panic_on_oom", "panic-on-oom"),
    "whoever allocates is killed": sysctl(
        "vm.oom_kill_allocating_task", "oom-kill-allocating-task"
    ),
    "no overcommit": sysctl("vm.overcommit_memory", "overcommit", 2),
    "panic on soft lockup": sysctl("kernel.softlockup_panic", "softlockup-panic"),
    "panic on hung task": sysctl("kernel.hung_task_panic", "hung-task-panic"),
    "panic on RCU stall": sysctl("kernel.panic_on_rcu_stall", "rcu-stall-panic"),
    "panic on WARN": sysctl("kernel.panic_on_warn", "panic-on-warn", severity="warn"),
    "huge page pool": sysctl("vm.nr_hugepages", "hugetlb", 8, "warn"),
    "CPU offline": State(
        "offline-cpus",
        "echo 0 > /sys/devices/system/cpu/cpu1/online",
        "echo 1 > /sys/devices/system/cpu/cpu1/online",
        severity="note",
    ),
    "THP off": State(
        "thp",
        "cat /sys/kernel/mm/transparent_hugepage/enabled > /tmp/thp; "
        "echo never > /sys/kernel/mm/transparent_hugepage/enabled",
        "sed 's/.*\\[\\(.*\\)\\].*/\\1/' /tmp/thp > /sys/kernel/mm/transparent_hugepage/enabled",
        options=f"--thp=always {SMALL}",
        severity="warn",
    ),
    "swap file": State("swap", SWAP_ON, SWAP_OFF, severity="warn"),
    "MemoryMax of user.slice": limit("MemoryMax=300M"),
    "MemoryHigh of user.slice": limit("MemoryHigh=300M"),
    "AllowedMemoryNodes of user.slice": limit("AllowedMemoryNodes=0", "cpuset"),
    "AllowedCPUs of user.slice": limit("AllowedCPUs=0", "cpu-affinity"),
    "taskset": State("cpu-affinity", within="taskset -c 0 sh -c {script}", severity="warn"),
    "MemoryMax of a service": State(
        "memory-cgroup", within=service("-p OOMPolicy=continue -p MemoryMax=300M"), user="root"
    ),
    "memory.oom.group": State(
        "oom-group", f"{GROUP}echo 1 > memory.oom.group", UNGROUP, within=IN_GROUP, user="root"
    ),
    "systemd-oomd": State(
        "oom-daemon",
        "systemctl unmask systemd-oomd.socket systemd-oomd.service; "
        "systemctl start systemd-oomd.socket systemd-oomd.service",
        "systemctl unmask --runtime systemd-oomd.socket systemd-oomd.service; "
        "systemctl mask --now systemd-oomd.socket systemd-oomd.service",
    ),
    "earlyoom": State(
        "oom-daemon",
        "systemctl start earlyoom",
        "systemctl unmask --runtime earlyoom; systemctl stop earlyoom",
    ),
    "nohang": State(
        "oom-daemon",
        "systemctl start nohang; for _ in $(seq 50); do ps -C nohang >/dev/null && break; "
        "sleep 0.1; done",
        "systemctl unmask --runtime nohang; systemctl stop nohang",
    ),
    "earlyoom of systemd-run": State(
        "oom-daemon",
        "systemd-run --quiet --unit=own-earlyoom earlyoom",
        "systemctl stop own-earlyoom 2>/dev/null; true",
    ),
    "earlyoom in no service": State(
        "oom-daemon", "setsid earlyoom >/dev/null 2>&1 </dev/null &", "pkill earlyoom; true"
    ),
    "service": State("oom-policy", within=service(), user="root"),
    "service, detached": State(
        "unit-end",
        within=service("-p OOMPolicy=continue"),
        options=f"--detach {SMALL}",
        user="root",
    ),
    "service with OOMPolicy=stop, detached": State(
        "oom-policy", within=service(), options=f"--detach {SMALL}", user="root"
    ),
    "service of a user's": State(
        "oom-policy", within=f"systemd-run --user {service()[12:]}", severity="warn", user="bench"
    ),
    "service of a user's, detached": State(
        "unit-end",
        within=f"systemd-run --user {service()[12:]}",
        options=f"--detach {SMALL}",
        user="bench",
    ),
    "watchdog that systemd feeds": State(
        "watchdog",
        "modprobe softdog soft_margin=50; busctl set-property org.freedesktop.systemd1 "
        "/org/freedesktop/systemd1 org.freedesktop.systemd1.Manager RuntimeWatchdogUSec t 50000000",
        "busctl set-property org.freedesktop.systemd1 /org/freedesktop/systemd1 "
        "org.freedesktop.systemd1.Manager RuntimeWatchdogUSec t 0; modprobe -r softdog",
    ),
    "watchdog that a service feeds": State(
        "watchdog",
        "modprobe softdog soft_margin=50; "
        f"systemd-run --quiet --unit=feeder sh -c {shlex.quote(FEED)}; "
        "until grep -qx active /sys/class/watchdog/watchdog0/state; do sleep 0.1; done",
        "systemctl stop feeder 2>/dev/null; modprobe -r softdog",
    ),
    "zram": State(
        "zram",
        "modprobe zram; echo 64M > /sys/block/zram0/disksize; "
        "mkswap -q /dev/zram0 && swapon /dev/zram0",
        "swapoff /dev/zram0; modprobe -r zram",
        severity="warn",
    ),
    "module left behind": State(
        "stale-module",
        "insmod /opt/page_alloc_bench.ko",
        "rmmod page_alloc_bench 2>/dev/null; true",
        severity="warn",
    ),
    "not root": State("root", within="{line}", user="bench"),
}
