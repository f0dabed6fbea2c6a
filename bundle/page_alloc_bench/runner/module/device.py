# SPDX-License-Identifier: GPL-2.0-only
"""A session with the module: its device, opened and driven."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from array import array
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from page_alloc_bench.runner.result.histogram import HIST_BUCKETS

from . import abi
from .abi import CpuStats, Gfp, Info, Progress


class AbiMismatchError(Exception):
    """The loaded module speaks another version of the ABI than this runner."""


@dataclass(frozen=True)
class PatternDescription:
    """What the loaded module says of one of its patterns.

    number: what CONFIGURE calls it. parameters: the range of each by its name, both ends included,
    in the module's order. operations: the names of the kinds of operation that are timed. absent:
    whether the kernel lacks what it needs.
    """

    number: int
    name: str
    parameters: dict[str, tuple[int, int]]
    operations: tuple[str, ...]
    absent: bool


@dataclass(frozen=True)
class Latency:
    """One CPU's latencies of one kind of operation.

    timed: operations timed; total_ns and max_ns are over them. histogram: HIST_BUCKETS counts,
    over them too. sample: a uniform sample of them, in ns, at most sample_capacity.
    """

    timed: int
    total_ns: int
    max_ns: int
    histogram: array[int]
    sample: array[int]


class Device:
    """An open session with the module; closing it stops the workers and frees their pages.

    Raises FileNotFoundError (module not loaded), PermissionError (not root) or OSError with
    EBUSY (another session is open), and AbiMismatchError.
    """

    def __init__(self, path: str = abi.DEVICE_PATH) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._sample_capacity = 0
        self._operations: tuple[str, ...] = ()
        try:
            self.info = self._read_info()
            self.patterns = {each.name: each for each in self._read_patterns()}
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_error: object) -> None:
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
            fcntl.ioctl(self._fd, abi.IOC_INFO, info)
        except OSError as error:
            if error.errno == errno.ENOTTY:  # another version's struct has another size
                raise AbiMismatchError("the loaded module has another ABI version") from error
            raise
        if info.abi_version != abi.ABI_VERSION:
            raise AbiMismatchError(
                f"the loaded module has ABI version {info.abi_version}, "
                f"this runner {abi.ABI_VERSION}"
            )
        return info

    def _read_patterns(self) -> Iterator[PatternDescription]:
        for number in range(self.info.pattern_count):
            info = abi.PatternInfo(pattern=number)
            fcntl.ioctl(self._fd, abi.IOC_PATTERN, info)
            parameters = info.parameters[: info.parameter_count]
            operations = info.operations[: info.operation_count]
            yield PatternDescription(
                number,
                info.name.decode(),
                {each.name.decode(): (each.min, each.max) for each in parameters},
                tuple(each.name.decode() for each in operations),
                bool(info.absent),
            )

    def lacks(self, pattern: str) -> bool:
        """Return whether the kernel lacks what a pattern needs."""
        return self.patterns[pattern].absent

    def configure(
        self,
        *,
        pattern: str,
        parameters: Mapping[str, int],
        order: int,
        seed: int,
        cpus: Collection[int],
        time_one_in: int,
        sample_capacity: int,
        gfp: Gfp = Gfp.KERNEL,
        gfp_modifiers: int = 0,
        allocs: int = 0,
        peers: Mapping[int, int] | None = None,
    ) -> None:
        """Allocate everything that a run needs, workers included; they wait for start().

        parameters: of that pattern, all of them, by name. time_one_in: 0 times nothing, 1 every
        operation, n one in n. sample_capacity: latencies kept per CPU and kind of operation.
        allocs: allocations after which each worker ends by itself; 0: never. peers: the CPU that
        frees what a CPU allocates, for each of cpus, where the pattern hands blocks over.

        Raises OSError: EINVAL (out of range), ENOMEM, EBADFD (running); KeyError if the module has
        no such pattern; ValueError if the pattern has other parameters.
        """
        described = self.patterns[pattern]
        if set(parameters) != set(described.parameters):
            raise ValueError(
                f"pattern {pattern} takes {', '.join(described.parameters)}, "
                f"not {', '.join(parameters)}"
            )
        bitmap = bytearray(max(cpus, default=0) // 8 + 1)
        for cpu in cpus:
            bitmap[cpu // 8] |= 1 << (cpu % 8)
        mask = (ctypes.c_char * len(bitmap)).from_buffer(bitmap)
        others = [peers[cpu] for cpu in sorted(cpus)] if peers else []
        named = (ctypes.c_uint32 * len(others))(*others)
        config = abi.Config(
            pattern=described.number,
            order=order,
            gfp=gfp,
            gfp_modifiers=gfp_modifiers,
            time_one_in=time_one_in,
            sample_capacity=sample_capacity,
            cpus_size=len(bitmap),
            cpus=ctypes.addressof(mask),
            seed=seed,
            allocs=allocs,
            peers=ctypes.addressof(named) if others else 0,
            parameters=tuple(parameters[name] for name in described.parameters),
        )
        fcntl.ioctl(self._fd, abi.IOC_CONFIGURE, config)
        self._sample_capacity = sample_capacity
        self._operations = described.operations

    def start(self) -> None:
        """Let the workers run. Raises OSError EBADFD unless freshly configured."""
        fcntl.ioctl(self._fd, abi.IOC_START)

    def stop(self) -> None:
        """Stop the workers and give back their pages; results stay readable."""
        fcntl.ioctl(self._fd, abi.IOC_STOP)

    def watch_oom(self) -> None:
        """Have progress().oom_held tell what is held when the OOM killer is next called."""
        fcntl.ioctl(self._fd, abi.IOC_WATCH_OOM)

    def progress(self) -> Progress:
        """Return the sums over all workers, now."""
        progress = Progress()
        fcntl.ioctl(self._fd, abi.IOC_PROGRESS, progress)
        return progress

    def cpu_stats(self, cpu: int) -> CpuStats:
        """Return the counters of the worker on cpu."""
        stats = CpuStats(cpu=cpu)
        fcntl.ioctl(self._fd, abi.IOC_CPU_STATS, stats)
        return stats

    def latency(self, cpu: int, operation: str, *, sample: bool = True) -> Latency:
        """Return the latencies of one kind of operation of the worker on cpu.

        sample: whether to read the sample too; it is empty otherwise. Raises OSError EBADFD for a
        sample while workers run, and ValueError if the configured pattern has no such kind of
        operation.
        """
        histogram = array("Q", bytes(8 * HIST_BUCKETS))
        kept = array("Q", [0]) * (self._sample_capacity if sample else 0)
        request = abi.LatencyRequest(
            cpu=cpu,
            operation=self._operations.index(operation),
            histogram=histogram.buffer_info()[0],
            sample=kept.buffer_info()[0] if kept else 0,
            sample_size=len(kept),
        )
        fcntl.ioctl(self._fd, abi.IOC_LATENCY, request)
        del kept[request.sample_size :]
        return Latency(request.timed, request.total_ns, request.max_ns, histogram, kept)
