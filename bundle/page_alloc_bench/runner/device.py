# SPDX-License-Identifier: GPL-2.0-only
"""The module's ABI as Python sees it: the one mirror of kmod/page_alloc_bench.h.

A test compares every size, offset, constant and request number below with what the C
compiler makes of the header.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import fcntl
import os
from array import array
from collections.abc import Collection
from dataclasses import dataclass
from types import TracebackType

ABI_VERSION = 1
DEVICE_PATH = "/dev/page_alloc_bench"

HIST_SUB_BITS = 4
HIST_MAX_BITS = 40
HIST_BUCKETS = (HIST_MAX_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS

MAX_HELD = 1 << 24
MAX_TIME_ONE_IN = 1 << 16
MAX_SAMPLE = 1 << 22
MAX_CPUS_SIZE = 1 << 13
NO_OOM = (1 << 64) - 1


class Pattern(enum.IntEnum):
    """What a worker does (enum pab_pattern_id)."""

    ANTAGONIST = 0


class LatencyClass(enum.IntEnum):
    """The kinds of operation whose latency is kept apart (enum pab_latency_class)."""

    ALLOC = 0
    FREE = 1
    FAILURE = 2


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


class Config(ctypes.Structure):
    """struct pab_config: what CONFIGURE takes."""

    _fields_ = (
        ("pattern", ctypes.c_uint32),
        ("order", ctypes.c_uint32),
        ("time_one_in", ctypes.c_uint32),
        ("sample_capacity", ctypes.c_uint32),
        ("held", ctypes.c_uint64),
        ("spread", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("cpus", ctypes.c_uint64),
        ("cpus_size", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


class Progress(ctypes.Structure):
    """struct pab_progress: sums over the workers in blocks, taken at time_ns (CLOCK_MONOTONIC)."""

    _fields_ = (
        ("state", ctypes.c_uint32),
        ("workers", ctypes.c_uint32),
        ("steady", ctypes.c_uint32),
        ("displaced", ctypes.c_uint32),
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
        ("reserved", ctypes.c_uint32),
        ("allocs", ctypes.c_uint64),
        ("frees", ctypes.c_uint64),
        ("failures", ctypes.c_uint64),
        ("remote", ctypes.c_uint64),
        ("clock_cost_ps", ctypes.c_uint64),
        ("clock_step_ns", ctypes.c_uint64),
    )
    cpu: int
    node: int
    last_cpu: int
    steady: int
    displaced: int
    reserved: int
    allocs: int
    frees: int
    failures: int
    remote: int
    clock_cost_ps: int
    clock_step_ns: int


class LatencyRequest(ctypes.Structure):
    """struct pab_latency: where LATENCY puts one CPU's latencies of one class."""

    _fields_ = (
        ("cpu", ctypes.c_uint32),
        ("class", ctypes.c_uint32),
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


class AbiMismatchError(Exception):
    """The loaded module speaks another version of the ABI than this runner."""


@dataclass(frozen=True)
class Latency:
    """One CPU's latencies of one class.

    timed: operations timed; total_ns and max_ns are over them. histogram: HIST_BUCKETS counts,
    over them too. sample: a uniform sample of them, in ns, at most sample_capacity.
    """

    timed: int
    total_ns: int
    max_ns: int
    histogram: array[int]
    sample: array[int]


def bucket_floor(index: int) -> int:
    """Return the smallest latency in ns that bucket index counts; that of HIST_BUCKETS ends it."""
    octave, position = divmod(index, 1 << HIST_SUB_BITS)
    if octave == 0:
        return position
    return (1 << HIST_SUB_BITS | position) << (octave - 1)


class Device:
    """An open session with the module; closing it stops the workers and frees their pages.

    Raises FileNotFoundError (module not loaded), PermissionError (not root) or OSError with
    EBUSY (another session is open), and AbiMismatchError.
    """

    def __init__(self, path: str = DEVICE_PATH) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._sample_capacity = 0
        try:
            self.info = self._read_info()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor of the session, -1 once it is closed."""
        return self._fd

    def close(self) -> None:
        """End the session."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read_info(self) -> Info:
        info = Info()
        try:
            fcntl.ioctl(self._fd, IOC_INFO, info)
        except OSError as error:
            if error.errno == errno.ENOTTY:  # another version's struct has another size
                raise AbiMismatchError("the loaded module has another ABI version") from error
            raise
        if info.abi_version != ABI_VERSION:
            raise AbiMismatchError(
                f"the loaded module has ABI version {info.abi_version}, this runner {ABI_VERSION}"
            )
        return info

    def configure(
        self,
        *,
        order: int,
        held: int,
        spread: int,
        seed: int,
        cpus: Collection[int],
        time_one_in: int,
        sample_capacity: int,
        pattern: Pattern = Pattern.ANTAGONIST,
    ) -> None:
        """Allocate everything that a run needs, workers included; they wait for start().

        time_one_in: 0 times nothing, 1 every operation, n one in n. sample_capacity: latencies
        kept per CPU and class. Raises OSError: EINVAL (out of range), ENOMEM, EBADFD (running).
        """
        bitmap = bytearray(max(cpus, default=0) // 8 + 1)
        for cpu in cpus:
            bitmap[cpu // 8] |= 1 << (cpu % 8)
        mask = (ctypes.c_char * len(bitmap)).from_buffer(bitmap)
        config = Config(
            pattern=pattern,
            order=order,
            time_one_in=time_one_in,
            sample_capacity=sample_capacity,
            held=held,
            spread=spread,
            seed=seed,
            cpus=ctypes.addressof(mask),
            cpus_size=len(bitmap),
        )
        fcntl.ioctl(self._fd, IOC_CONFIGURE, config)
        self._sample_capacity = sample_capacity

    def start(self) -> None:
        """Let the workers run. Raises OSError EBADFD unless freshly configured."""
        fcntl.ioctl(self._fd, IOC_START)

    def stop(self) -> None:
        """Stop the workers and give back their pages; results stay readable."""
        fcntl.ioctl(self._fd, IOC_STOP)

    def watch_oom(self) -> None:
        """Have progress().oom_held tell what is held when the OOM killer is next called."""
        fcntl.ioctl(self._fd, IOC_WATCH_OOM)

    def progress(self) -> Progress:
        """Return the sums over all workers, now."""
        progress = Progress()
        fcntl.ioctl(self._fd, IOC_PROGRESS, progress)
        return progress

    def cpu_stats(self, cpu: int) -> CpuStats:
        """Return the counters of the worker on cpu."""
        stats = CpuStats(cpu=cpu)
        fcntl.ioctl(self._fd, IOC_CPU_STATS, stats)
        return stats

    def latency(self, cpu: int, latency_class: LatencyClass) -> Latency:
        """Return the latencies of the worker on cpu; only while no worker runs (else EBADFD)."""
        histogram = array("Q", bytes(8 * HIST_BUCKETS))
        sample = array("Q", [0]) * self._sample_capacity
        request = LatencyRequest(
            cpu=cpu,
            histogram=histogram.buffer_info()[0],
            sample=sample.buffer_info()[0],
            sample_size=self._sample_capacity,
            **{"class": latency_class},
        )
        fcntl.ioctl(self._fd, IOC_LATENCY, request)
        del sample[request.sample_size :]
        return Latency(request.timed, request.total_ns, request.max_ns, histogram, sample)
