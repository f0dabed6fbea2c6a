# SPDX-License-Identifier: GPL-2.0-only
"""The module's ABI as Python sees it: the one mirror of kmod/page_alloc_bench.h.

A test compares every size, offset, constant and request number below with what the C
compiler makes of the header.
"""

from __future__ import annotations

import ctypes
import enum

ABI_VERSION = 7
DEVICE_PATH = "/dev/page_alloc_bench"

MAX_PARAMETERS = 8
MAX_OPERATIONS = 16
NAME_SIZE = 24
MAX_BLOCKS = 1 << 25
MAX_TIME_ONE_IN = 1 << 16
MAX_SAMPLE = 1 << 22
MAX_CPUS_SIZE = 1 << 13
NO_OOM = (1 << 64) - 1


class Gfp(enum.IntEnum):
    """How the workers ask for pages (enum pab_gfp)."""

    KERNEL = 0
    USER = 1
    NOWAIT = 2
    ATOMIC = 3


class GfpModifier(enum.IntFlag):
    """What they ask for besides (enum pab_gfp_modifier)."""

    COMP = 1
    ACCOUNT = 2
    ZERO = 4
    THISNODE = 8


class State(enum.IntEnum):
    """Where a session stands (enum pab_state)."""

    NEW = 0
    CONFIGURED = 1
    RUNNING = 2
    STOPPED = 3


class Info(ctypes.Structure):
    """struct pab_info: what the module is built for."""

    _fields_ = (
        ("abi_version", ctypes.c_uint32),
        ("page_shift", ctypes.c_uint32),
        ("max_order", ctypes.c_uint32),
        ("pattern_count", ctypes.c_uint32),
        ("hist_buckets", ctypes.c_uint32),
        ("hist_sub_bits", ctypes.c_uint32),
    )
    abi_version: int
    page_shift: int
    max_order: int
    pattern_count: int
    hist_buckets: int
    hist_sub_bits: int


class ParameterInfo(ctypes.Structure):
    """struct pab_parameter_info: a parameter of a pattern."""

    _fields_ = (
        ("name", ctypes.c_char * NAME_SIZE),
        ("min", ctypes.c_uint64),
        ("max", ctypes.c_uint64),
    )
    name: bytes
    min: int
    max: int


class OperationInfo(ctypes.Structure):
    """struct pab_operation_info: a kind of operation of a pattern."""

    _fields_ = (("name", ctypes.c_char * NAME_SIZE),)
    name: bytes


class PatternInfo(ctypes.Structure):
    """struct pab_pattern_info: what a pattern of the module declares."""

    _fields_ = (
        ("pattern", ctypes.c_uint32),
        ("parameter_count", ctypes.c_uint32),
        ("operation_count", ctypes.c_uint32),
        ("absent", ctypes.c_uint32),
        ("name", ctypes.c_char * NAME_SIZE),
        ("parameters", ParameterInfo * MAX_PARAMETERS),
        ("operations", OperationInfo * MAX_OPERATIONS),
    )
    parameter_count: int
    operation_count: int
    absent: int
    name: bytes
    parameters: ctypes.Array[ParameterInfo]
    operations: ctypes.Array[OperationInfo]


class Config(ctypes.Structure):
    """struct pab_config: what CONFIGURE takes."""

    _fields_ = (
        ("pattern", ctypes.c_uint32),
        ("order", ctypes.c_uint32),
        ("gfp", ctypes.c_uint32),
        ("time_one_in", ctypes.c_uint32),
        ("sample_capacity", ctypes.c_uint32),
        ("cpus_size", ctypes.c_uint32),
        ("gfp_modifiers", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("cpus", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("allocs", ctypes.c_uint64),
        ("peers", ctypes.c_uint64),
        ("parameters", ctypes.c_uint64 * MAX_PARAMETERS),
    )


class Progress(ctypes.Structure):
    """struct pab_progress: sums over the workers in blocks, taken at time_ns (CLOCK_MONOTONIC)."""

    _fields_ = (
        ("state", ctypes.c_uint32),
        ("workers", ctypes.c_uint32),
        ("steady", ctypes.c_uint32),
        ("displaced", ctypes.c_uint32),
        ("finished", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("time_ns", ctypes.c_uint64),
        ("allocs", ctypes.c_uint64),
        ("frees", ctypes.c_uint64),
        ("failures", ctypes.c_uint64),
        ("remote", ctypes.c_uint64),
        ("oom_held", ctypes.c_uint64),
    )
    state: int
    workers: int
    steady: int
    displaced: int
    finished: int
    time_ns: int
    allocs: int
    frees: int
    failures: int
    remote: int
    oom_held: int


class CpuStats(ctypes.Structure):
    """struct pab_cpu_stats: one worker's counters in blocks, and its CPU's clock."""

    _fields_ = (
        ("cpu", ctypes.c_uint32),
        ("node", ctypes.c_uint32),
        ("last_cpu", ctypes.c_uint32),
        ("steady", ctypes.c_uint32),
        ("displaced", ctypes.c_uint32),
        ("finished", ctypes.c_uint32),
        ("charged", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("allocs", ctypes.c_uint64),
        ("frees", ctypes.c_uint64),
        ("failures", ctypes.c_uint64),
        ("remote", ctypes.c_uint64),
        ("shortfalls", ctypes.c_uint64),
        ("clock_cost_ps", ctypes.c_uint64),
        ("clock_step_ns", ctypes.c_uint64),
        ("begin_ns", ctypes.c_uint64),
        ("end_ns", ctypes.c_uint64),
    )
    cpu: int
    node: int
    last_cpu: int
    steady: int
    displaced: int
    finished: int
    charged: int
    allocs: int
    frees: int
    failures: int
    remote: int
    shortfalls: int
    clock_cost_ps: int
    clock_step_ns: int
    begin_ns: int
    end_ns: int


class LatencyRequest(ctypes.Structure):
    """struct pab_latency: where LATENCY puts one CPU's latencies of one kind of operation."""

    _fields_ = (
        ("cpu", ctypes.c_uint32),
        ("operation", ctypes.c_uint32),
        ("timed", ctypes.c_uint64),
        ("total_ns", ctypes.c_uint64),
        ("max_ns", ctypes.c_uint64),
        ("histogram", ctypes.c_uint64),
        ("sample", ctypes.c_uint64),
        ("sample_size", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )
    timed: int
    total_ns: int
    max_ns: int
    sample_size: int


_IOC_WRITE = 1
_IOC_READ = 2
_IOC_MAGIC = 0xBA


def _request(direction: int, number: int, size: int) -> int:
    """Encode an ioctl request as include/uapi/asm-generic/ioctl.h does."""
    return direction << 30 | size << 16 | _IOC_MAGIC << 8 | number


IOC_INFO = _request(_IOC_READ, 0, ctypes.sizeof(Info))
IOC_CONFIGURE = _request(_IOC_WRITE, 1, ctypes.sizeof(Config))
IOC_START = _request(0, 2, 0)
IOC_STOP = _request(0, 3, 0)
IOC_PROGRESS = _request(_IOC_READ, 4, ctypes.sizeof(Progress))
IOC_CPU_STATS = _request(_IOC_READ | _IOC_WRITE, 5, ctypes.sizeof(CpuStats))
IOC_LATENCY = _request(_IOC_READ | _IOC_WRITE, 6, ctypes.sizeof(LatencyRequest))
IOC_WATCH_OOM = _request(0, 7, 0)
IOC_PATTERN = _request(_IOC_READ | _IOC_WRITE, 8, ctypes.sizeof(PatternInfo))
