# SPDX-License-Identifier: GPL-2.0-only
"""Count events of the kernel and of the CPUs: man 2 perf_event_open."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from page_alloc_bench.runner.lifetime import in_child

from . import procfs

_SYSCALL = {"x86_64": 298, "aarch64": 241}
# include/uapi/linux/perf_event.h
_HARDWARE, _SOFTWARE, _TRACEPOINT = range(3)
_DUMMY = 9  # of those of software: counts nothing
_FLAG_CLOEXEC = 1 << 3
_TIMES_AND_GROUP = 1 << 0 | 1 << 1 | 1 << 3
_SET_FILTER = 0x40082406
_ATTR = "IIQQQQQIIQQ"  # up to config2: PERF_ATTR_SIZE_VER1
_CLONE_NEWNS, _MS_PRIVATE_REC = 0x20000, 0x44000
_TRACING = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_HARDWARE_EVENTS = {"cycles": 0, "instructions": 1, "cache-misses": 3}


class Event:
    """Something to count: a tracepoint like "kmem/NAME", calls of a function, or what CPUs do.

    where: a filter of the tracepoint's fields. hardware: cycles, instructions, cache-misses.
    """

    def __init__(
        self, *, tracepoint: str = "", where: str = "", function: str = "", hardware: str = ""
    ) -> None:
        self.tracepoint = tracepoint
        self.filter = where
        self.function = function
        self.hardware = hardware


class Counters:
    """Events that are counted on some CPUs from now on; a context manager.

    Those that this host cannot count are in missing, with the reason, and nowhere else. Events of
    the kernel are a group, so that a CPU reads them in one moment; each one of hardware is alone.
    """

    def __init__(self, events: Mapping[str, Event], cpus: Sequence[int]) -> None:
        self.missing: dict[str, str] = {}
        self._leaders: list[int] = []
        self._open: dict[str, list[int]] = {}
        self._hardware = {name for name, event in events.items() if event.hardware}
        points = [event.tracepoint for event in events.values() if event.tracepoint]
        ids = in_child.call(lambda: _ids(points))
        try:
            self._leaders = _on_each([partial(_open, _SOFTWARE, _DUMMY, cpu) for cpu in cpus])
        except OSError as error:
            self.missing = dict.fromkeys(events, error.strerror or str(error))
            return
        for name, event in events.items():
            each = zip(cpus, self._leaders)
            try:
                self._open[name] = _on_each(
                    [partial(_count, event, ids, cpu, leader) for cpu, leader in each]
                )
            except OSError as error:
                self.missing[name] = error.strerror or str(error)

    def __enter__(self) -> Counters:
        return self

    def __exit__(self, *_error: object) -> None:
        for descriptors in (*self._open.values(), self._leaders):
            for descriptor in descriptors:
                os.close(descriptor)
        self._open.clear()
        self._leaders.clear()

    def absent(self) -> str:
        """Return which events this host cannot count, and why, in a sentence."""
        missing = ", ".join(f"{name} ({why})" for name, why in self.missing.items())
        return f"--counters: this host cannot count these, so they are absent: {missing}"

    def read(self) -> dict[str, int]:
        """Return the count of each event so far, of all CPUs together.

        Where a CPU has fewer counters than events, they take turns, and the count is for all of
        the time; an event that has had no turn is missing.
        """
        of_kernel = [name for name in self._open if name not in self._hardware]
        groups = [(of_kernel, self._leaders)]
        groups += [([name], self._open[name]) for name in self._open if name in self._hardware]
        found = dict.fromkeys(self._open, 0)
        for names, descriptors in groups:
            for descriptor in descriptors:
                counts = _counts(descriptor, len(names))
                for name, count in zip(names, counts):
                    found[name] += count
                if not counts:
                    self.missing.update(dict.fromkeys(names, "others use the CPU's counters"))
        return {name: count for name, count in found.items() if name not in self.missing}


def _counts(descriptor: int, size: int) -> list[int]:
    """Return the last so many counts of a group; none, if it has had no turn."""
    data = os.read(descriptor, 8 * (4 + size))
    _number, enabled, running, *counts = struct.unpack(f"{len(data) // 8}Q", data)
    if not running:
        return []
    return [round(count * enabled / running) for count in counts[len(counts) - size :]]


def _on_each(makers: Sequence[Callable[[], int]]) -> list[int]:
    """Return the descriptors that these make. Raises OSError, and then leaves none open."""
    made: list[int] = []
    try:
        for make in makers:
            made.append(make())  # noqa: PERF401 (they are needed where one fails)
    except OSError:
        for descriptor in made:
            os.close(descriptor)
        raise
    return made


def _count(event: Event, ids: Mapping[str, int], cpu: int, leader: int) -> int:
    """Return a descriptor that counts an event on a CPU. Raises OSError."""
    if event.hardware:
        return _open(_HARDWARE, _HARDWARE_EVENTS[event.hardware], cpu)
    if event.function:
        text = procfs.read_or_none("/sys/bus/event_source/devices/kprobe/type")
        if text is None:
            raise OSError(0, "this kernel has no kprobes for perf")
        return _open(int(text), 0, cpu, leader, event.function)
    if event.tracepoint not in ids:
        raise OSError(0, "this kernel has no such tracepoint")
    descriptor = _open(_TRACEPOINT, ids[event.tracepoint], cpu, leader)
    try:
        _filter(descriptor, event.filter)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _open(kind: int, config: int, cpu: int, leader: int = -1, function: str = "") -> int:
    """Return a descriptor of an event of all tasks of a CPU. leader: of its group."""
    number = _SYSCALL.get(os.uname().machine)
    if number is None:
        raise OSError(0, "not known on this architecture")
    name = ctypes.create_string_buffer(function.encode()) if function else None
    attr = struct.pack(
        _ATTR, kind, struct.calcsize(_ATTR), config, 0, 0, _TIMES_AND_GROUP, 0, 0, 0,
        ctypes.addressof(name) if name else 0, 0,
    )  # fmt: skip
    libc = ctypes.CDLL(None, use_errno=True)
    found = libc.syscall(number, attr, -1, cpu, leader, ctypes.c_ulong(_FLAG_CLOEXEC))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(found)


def _filter(descriptor: int, where: str) -> None:
    """Count only events whose fields are so. Raises OSError."""
    if not where:
        return
    try:
        fcntl.ioctl(descriptor, _SET_FILTER, where.encode() + b"\0")
    except OSError as error:
        raise OSError(error.errno, "this kernel's tracepoint does not tell it") from error


def _ids(points: Sequence[str]) -> dict[str, int]:
    """Return the numbers of tracepoints; to be called in a child, for it may mount what has them.

    That is seen by nobody else, and gone with the child.
    """
    root = next((path for path in _TRACING if os.path.exists(f"{path}/events")), None)
    if root is None:
        libc, root = ctypes.CDLL(None), _TRACING[0]
        libc.unshare(_CLONE_NEWNS)
        libc.mount(b"none", b"/", None, _MS_PRIVATE_REC, None)
        libc.mount(b"tracefs", root.encode(), b"tracefs", 0, None)
    texts = {point: procfs.read_or_none(f"{root}/events/{point}/id") for point in points}
    return {point: int(text) for point, text in texts.items() if text}
