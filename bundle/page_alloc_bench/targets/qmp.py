# SPDX-License-Identifier: GPL-2.0-only
"""Ask a QEMU over its monitor."""

from __future__ import annotations

import functools
import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from page_alloc_bench.targets import cache, hardware
from page_alloc_bench.targets.machine import Machine
from page_alloc_bench.targets.process import TargetError
from page_alloc_bench.targets.qemu import Qemu

SOCKET = "qmp"
_UP_S = 5.0  # until a QEMU that has just started listens


def arguments(scratch: Path) -> list[str]:
    """Return QEMU's arguments for a monitor in the directory SCRATCH."""
    return ["-qmp", f"unix:{scratch}/{SOCKET},server=on,wait=off"]


def ask(scratch: Path, command: str, given: Mapping[str, str] | None = None) -> Any:
    """Have the monitor run COMMAND and return its answer. Raises TargetError, OSError."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(10)
        monitor.connect(f"{scratch}/{SOCKET}")
        with monitor.makefile("rw", encoding="utf-8") as stream:
            stream.readline()  # the greeting
            _answer(stream, "qmp_capabilities", {})
            return _answer(stream, command, given or {})


def _answer(stream: Any, command: str, given: Mapping[str, str]) -> Any:
    """Return QEMU's answer to COMMAND; events in between are skipped."""
    stream.write(json.dumps({"execute": command, "arguments": dict(given)}) + "\n")
    stream.flush()
    for text in stream:
        message = json.loads(text)
        if "error" in message:
            raise TargetError(f"QEMU refuses {command}: {message['error'].get('desc')}")
        if "return" in message:
            return message["return"]
    raise TargetError(f"QEMU closed its monitor instead of answering {command}")


def pin(qemu: Qemu, machine: Machine) -> bool:
    """Give each CPU of a guest a CPU of this host; return whether it was possible; say if not."""
    done = _pin(qemu, machine)
    if not done:
        _say_unpinned()
    return done


@functools.cache
def _say_unpinned() -> None:
    """Once, for a comparison boots many guests."""
    cache.note(
        "warning: the guest's CPUs are not pinned to CPUs of this host, so that its figures vary "
        "more: there must be more CPUs here than in the guest, on each node (--cpus)"
    )


def _pin(qemu: Qemu, machine: Machine) -> bool:
    deadline = time.monotonic() + _UP_S
    while not (qemu.scratch / SOCKET).exists() and qemu.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    with suppress(OSError, ValueError, TargetError):
        cpus = sorted(ask(qemu.scratch, "query-cpus-fast"), key=lambda cpu: int(cpu["cpu-index"]))
        pid = int((qemu.scratch / "pid").read_text())
        return hardware.pin(pid, [cpu["thread-id"] for cpu in cpus], machine.nodes_of_cpus)
    return False
