# SPDX-License-Identifier: GPL-2.0-only
"""What is inherited and decides what a process may do, and how much of it."""

from __future__ import annotations

import resource

from page_alloc_bench.runner.result.inherited import Value

from .calls import status

# What a run needs, by include/uapi/linux/capability.h. DAC_OVERRIDE: a device of another's group,
# IPC_LOCK: mlockall, SYS_ADMIN: the module's device, SYS_RESOURCE: oom_score_adj and limits.
_NEEDED = {
    "dac_override": 1,
    "kill": 5,
    "ipc_lock": 14,
    "sys_module": 16,
    "sys_admin": 21,
    "sys_nice": 23,
    "sys_resource": 24,
}
_SECCOMP = ("off", "strict", "filter")
# Those that a run can come up against; the others are as far off as they always are.
_UNLIMITED = ("AS", "CPU", "DATA", "FSIZE", "RSS", "RTTIME")
# The least that is enough for a run, in the unit of each.
_ENOUGH = {"NOFILE": 1024, "NPROC": 1024, "STACK": 8 << 20}


def limits() -> Value:
    """Return the resource limits that are in the way, such as "AS=1000000 CPU=3"; "": none."""
    found = [(name, resource.getrlimit(_kind(name))[0]) for name in (*_UNLIMITED, *_ENOUGH)]
    return " ".join(f"{name}={soft}" for name, soft in found if not _suffices(name, soft))


def reset_limits() -> None:
    """Lift the limits that are in the way, as far as this process may."""
    for name in (*_UNLIMITED, *_ENOUGH):
        soft, hard = resource.getrlimit(_kind(name))
        if not _suffices(name, soft):
            _lift(name, hard)


def missing_capabilities() -> Value:
    """Return what a run needs and this process lacks, such as "ipc_lock sys_nice"; "": nothing."""
    effective = status("CapEff")
    if effective is None:
        return None
    bits = int(effective, 16)
    return " ".join(name for name, number in _NEEDED.items() if not bits >> number & 1)


def seccomp() -> Value:
    """Return off, strict or filter; None in a kernel without seccomp."""
    mode = status("Seccomp")
    return None if mode is None else _SECCOMP[int(mode)]


def _kind(name: str) -> int:
    return int(getattr(resource, f"RLIMIT_{name}"))


def _suffices(name: str, soft: int) -> bool:
    return soft == resource.RLIM_INFINITY or soft >= _ENOUGH.get(name, soft + 1)


def _lift(name: str, hard: int) -> None:
    """Set a limit to what is enough, or else as high as this process may."""
    enough = _ENOUGH.get(name, resource.RLIM_INFINITY)
    for soft, most in ((enough, resource.RLIM_INFINITY), (hard, hard)):
        try:
            resource.setrlimit(_kind(name), (soft, most))
        except (OSError, ValueError):
            continue
        return
