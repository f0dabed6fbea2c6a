# SPDX-License-Identifier: GPL-2.0-only
"""What is known about the host: one small function a fact.

A fact that the kernel does not offer is None, never a guess.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from . import build_identity, procfs

_THP = "/sys/kernel/mm/transparent_hugepage"
DEVICE_TREE = "/proc/device-tree"
_HOST_ID = b"page-alloc-bench.host_id"
_CLOCK = "/sys/devices/system/clocksource/clocksource0"

# What changes the speed of the allocator or the memory it has, whether or not it is for debugging.
_CONFIG_OPTIONS = (
    "COMPACTION",
    "DEBUG_ATOMIC_SLEEP",
    "DEBUG_KMEMLEAK",
    "DEBUG_KMEMLEAK_DEFAULT_OFF",
    "DEBUG_LIST",
    "DEBUG_LOCK_ALLOC",
    "DEBUG_OBJECTS",
    "DEBUG_PAGEALLOC",
    "DEBUG_PAGEALLOC_ENABLE_DEFAULT",
    "DEBUG_PAGE_REF",
    "DEBUG_PREEMPT",
    "DEBUG_SPINLOCK",
    "DEBUG_VM",
    "DEBUG_VM_PGFLAGS",
    "FAIL_PAGE_ALLOC",
    "FAULT_INJECTION",
    "FUNCTION_TRACER",
    "HZ",
    "INIT_ON_ALLOC_DEFAULT_ON",
    "INIT_ON_FREE_DEFAULT_ON",
    "KASAN",
    "KCOV",
    "KCSAN",
    "KFENCE",
    "KMSAN",
    "LOCK_STAT",
    "LRU_GEN_ENABLED",
    "MEMCG",
    "MEM_ALLOC_PROFILING",
    "MEM_ALLOC_PROFILING_ENABLED_BY_DEFAULT",
    "NUMA",
    "PAGE_EXTENSION",
    "PAGE_OWNER",
    "PAGE_POISONING",
    "PAGE_TABLE_CHECK",
    "PAGE_TABLE_CHECK_ENFORCED",
    "PREEMPT",
    "PREEMPT_DYNAMIC",
    "PREEMPT_LAZY",
    "PREEMPT_NONE",
    "PREEMPT_RT",
    "PREEMPT_VOLUNTARY",
    "PROVE_LOCKING",
    "SHUFFLE_PAGE_ALLOCATOR",
    "SLUB_DEBUG_ON",
    "TRANSPARENT_HUGEPAGE",
    "UBSAN",
    "ZONE_DEVICE",
    "ZONE_DMA",
    "ZONE_DMA32",
)


def python() -> dict[str, Any]:
    """Return the Python that runs this: embedded in the bundle, or the host's own."""
    return {
        "version": ".".join(map(str, sys.version_info[:3])),
        "embedded": "page_alloc_bench_home" in sys._xoptions,
    }


def kernel(built: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what is running, how it was built and how it was booted.

    built: the entry of the bundle's manifest for this kernel.
    """
    uname = os.uname()
    running = build_identity.of_running(uname.version, config_text(uname.release)[0])
    made_for = build_identity.of_entry(built or {})
    verdict = build_identity.compare(made_for, running)
    taint = procfs.read_or_none("/proc/sys/kernel/tainted")
    return {
        "release": uname.release,
        "version": uname.version,
        "machine": uname.machine,
        "cmdline": procfs.read_or_none("/proc/cmdline"),
        "taint": None if taint is None else int(taint),
        "tainting_modules": tainting_modules(),
        "page_size_bytes": procfs.page_size(),
        "build_id": running["build_id"],
        "module_build": {"same": verdict.same, "by": verdict.by, **made_for},
        "config": config(uname.release, (built or {}).get("config")),
    }


def tainting_modules(root: str = "/") -> list[str]:
    """Return the names of the modules that are loaded and taint the kernel: /sys/module/*/taint."""
    directory = os.path.join(root, "sys/module")
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [name for name in names if procfs.read_or_none(os.path.join(directory, name, "taint"))]


def config(release: str, built: dict[str, Any] | None = None, root: str = "/") -> dict[str, Any]:
    """Return the source of the kernel's configuration, its SHA-256, and the options that matter.

    built: what describe_config() said of the tree that the module was built in; it stands in where
    the host has no configuration to be read, its path being "bundle". All but reason are None where
    there is neither; reason then says so.
    """
    text, path = config_text(release, root)
    if text is not None:
        return {"path": path, **describe_config(text), "reason": None}
    if built:
        return {"path": "bundle", **built, "reason": None}
    reason = f"none of {', '.join(_config_paths(release))} can be read"
    return {"path": None, "sha256": None, "options": None, "reason": reason}


def config_text(release: str, root: str = "/") -> tuple[str | None, str | None]:
    """Return the running kernel's configuration and where it stands; None both: nowhere."""
    for path in _config_paths(release):
        try:
            text = read_config(os.path.join(root, path[1:]))
        except OSError:
            continue
        return text, path
    return None, None


def _config_paths(release: str) -> tuple[str, ...]:
    return ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config")


def describe_config(text: str) -> dict[str, Any]:
    """Return the SHA-256 of a kernel's .config and the options in it that matter.

    options: the value of each by its name without CONFIG_, "n" where it is not set.
    """
    import hashlib

    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "options": parse_config(text)}


def read_config(path: str) -> str:
    """Return the text of a kernel's .config, be it compressed or not."""
    if not path.endswith(".gz"):
        return procfs.read(path)
    import gzip

    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        return file.read()


def parse_config(text: str) -> dict[str, str]:
    """Return the options that matter to this benchmark from a kernel's .config."""
    found = dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))
    return {name: found.get(name, "n") for name in _CONFIG_OPTIONS}


def machine(cpus: list[int]) -> dict[str, Any]:
    """Return the hardware as the kernel sees it; cpus: those that the run uses."""
    return {
        "cpus_online": procfs.format_list(procfs.online_cpus()),
        "cpus_present": procfs.format_list(procfs.present_cpus()),
        "cpus_used": procfs.format_list(cpus),
        "cpus_isolated": procfs.read_or_none(f"{procfs.CPUS}/isolated"),
        "cpu_model": cpu_model(),
        "hypervisor": hypervisor(),
        "governors": governors(cpus),
        "clocksource": procfs.read_or_none(f"{_CLOCK}/current_clocksource"),
        "nodes": nodes(),
        "node_of_cpu": node_of_cpu(),
        "memory_bytes": procfs.meminfo()["MemTotal"],
        "memory_available_bytes": procfs.meminfo().get("MemAvailable"),
        "swap_bytes": procfs.meminfo().get("SwapTotal"),
        "swaps": swaps(),
        "thp": thp(),
        "sysctl_vm": sysctl_vm(),
        "load_average": procfs.read_or_none("/proc/loadavg"),
        "uptime_s": uptime_s(),
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def nodes() -> list[dict[str, Any]]:
    """Return each node's number, CPUs and memory, in the order of their numbers.

    A node without memory has memory_bytes 0; without NUMA in the kernel there is one node, 0.
    """
    return [_node(number) for number in procfs.nodes()]


def _node(number: int) -> dict[str, Any]:
    directory = f"{procfs.NODES}/node{number}"
    cpus = procfs.read_or_none(f"{directory}/cpulist")
    text = procfs.read_or_none(f"{directory}/meminfo")
    memory = procfs.meminfo() if text is None else procfs.parse_meminfo(text)
    return {
        "node": number,
        "cpus": procfs.format_list(procfs.online_cpus()) if cpus is None else cpus,
        "memory_bytes": memory.get("MemTotal", 0),
        "memory_free_bytes": memory.get("MemFree", 0),
        "distances": procfs.read_or_none(f"{directory}/distance"),
    }


def node_of_cpu() -> dict[str, int]:
    """Return the node that each online CPU belongs to, by the CPU's number."""
    table = {cpu: node["node"] for node in nodes() for cpu in procfs.parse_list(node["cpus"])}
    return {str(cpu): table[cpu] for cpu in sorted(table)}


def cpu_model() -> str | None:
    """Return the processor's name; arm64 kernels tell only numbers, given as "part 0xd0c"."""
    text = procfs.read_or_none("/proc/cpuinfo") or ""
    for name in ("model name", "CPU part"):
        match = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
        if match:
            return match[1].strip()
    return None


def hypervisor() -> str | None:
    """Return what the kernel or the firmware calls the virtual machine; None on bare metal."""
    text = procfs.read_or_none("/proc/cpuinfo") or ""
    vendor = procfs.read_or_none("/sys/class/dmi/id/sys_vendor")
    xen = procfs.read_or_none("/sys/hypervisor/type")
    if xen is not None:
        return xen
    if re.search(r"^flags\s*:.*\bhypervisor\b", text, re.MULTILINE):
        return vendor or "unnamed"
    virtual = ("QEMU", "VMware", "Xen", "innotek", "Amazon EC2", "Google", "Microsoft Corporation")
    if vendor is not None:
        return vendor if vendor.startswith(virtual) else None
    return hypervisor_in_device_tree()


def hypervisor_in_device_tree() -> str | None:
    """Return what machines without DMI, arm64's for instance, say of a hypervisor."""
    named = procfs.read_or_none(f"{DEVICE_TREE}/hypervisor/compatible")
    if named:
        return named.strip("\0").split("\0")[0]
    try:
        nodes = os.listdir(DEVICE_TREE)
    except OSError:
        return None
    # The channel through which QEMU, and nobody else, tells its firmware about the machine.
    return "QEMU" if any(name.startswith("fw-cfg@") for name in nodes) else None


def governors(cpus: list[int]) -> list[str] | None:
    """Return the frequency governors in use on cpus, each once; None without frequency scaling."""
    path = f"{procfs.CPUS}/cpu{{}}/cpufreq/scaling_governor"
    found = {procfs.read_or_none(path.format(cpu)) for cpu in cpus}
    return sorted(name for name in found if name is not None) or None


def thp() -> dict[str, str] | None:
    """Return the settings for transparent huge pages; None in a kernel without them.

    A setting with choices, such as "always [madvise] never", is given by the chosen one.
    """
    if not os.path.isdir(_THP):
        return None
    settings = {}
    for name in sorted(os.listdir(_THP)):
        text = procfs.read_or_none(f"{_THP}/{name}")  # not the directories of each size
        if text is not None:
            settings[name] = chosen(text)
    return settings


def chosen(text: str) -> str:
    """Return the choice in brackets of a sysfs setting; all of it where there are none."""
    match = re.search(r"\[(.+?)\]", text)
    return match[1] if match else text


def swaps() -> list[str]:
    """Return the swap areas in use, by their paths."""
    lines = (procfs.read_or_none("/proc/swaps") or "").splitlines()[1:]
    return [line.split()[0] for line in lines]


def sysctl_vm() -> dict[str, str]:
    """Return the settings of the memory management that a run depends on, where they exist."""
    names = (
        "admin_reserve_kbytes",
        "lowmem_reserve_ratio",
        "min_free_kbytes",
        "nr_hugepages",
        "oom_kill_allocating_task",
        "overcommit_memory",
        "overcommit_ratio",
        "panic_on_oom",
        "percpu_pagelist_high_fraction",
        "swappiness",
        "user_reserve_kbytes",
        "watermark_boost_factor",
        "watermark_scale_factor",
        "zone_reclaim_mode",
    )
    found = {name: procfs.read_or_none(f"/proc/sys/vm/{name}") for name in names}
    return {name: " ".join(value.split()) for name, value in found.items() if value is not None}


def uptime_s() -> float | None:
    """Return the seconds since boot."""
    text = procfs.read_or_none("/proc/uptime")
    return None if text is None else float(text.split()[0])


def boot_id() -> str | None:
    """Return what the kernel draws at random when it boots: runs of one boot have the same."""
    return procfs.read_or_none("/proc/sys/kernel/random/boot_id")


def host_id(root: str = "/") -> str | None:
    """Return what tells this installation from others and does not tell which it is.

    It is made of /etc/machine-id, which is not to be shown to others (machine-id(5)): as
    sd_id128_get_machine_app_specific() does, by HMAC-SHA256 with the machine-id as the key.
    """
    import hashlib
    import hmac

    machine_id = procfs.read_or_none(os.path.join(root, "etc/machine-id"))
    if machine_id is None or not re.fullmatch("[0-9a-f]{32}", machine_id):
        return None
    return hmac.new(bytes.fromhex(machine_id), _HOST_ID, hashlib.sha256).hexdigest()[:32]
