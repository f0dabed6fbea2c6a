# SPDX-License-Identifier: GPL-2.0-only
"""What a workload measures with: it records phases, and what the kernel counts around each."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol

from page_alloc_bench.runner.kernel import cpu_lists, page_types, procfs
from page_alloc_bench.runner.module.abi import CpuStats, Gfp, Progress
from page_alloc_bench.runner.module.device import Latency
from page_alloc_bench.runner.result.document import Document
from page_alloc_bench.runner.result.metrics import measured_phases, typed_moments


class PlannedPhase(NamedTuple):
    """A phase of a run, known before it: its name in run.phases, and the order of the blocks."""

    name: str
    order: int


class Reporter(Protocol):
    """Tells people how far the run is."""

    def phase(self, text: str, phase: str, order: int) -> None:
        """Tell that a phase begins; text: what people call it."""

    def tick(self, text: str, size_bytes: int | None = None) -> None:
        """Tell how far a phase is, now and then."""

    def finished(self, text: str, *, last: bool) -> None:
        """Tell the outcome of one iteration; last: of the phase."""

    def warning(self, text: str) -> None:
        """Tell what makes the result less than it should be."""


class Signals(Protocol):
    """Raises what ends the run early where that does no harm."""

    def deferred(self) -> AbstractContextManager[Any]:
        """Hold that back while the body runs."""


class Session(Protocol):
    """What a workload needs of a session with the module: see module/device.py, which has it."""

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
        """Make ready what start() lets run."""

    def lacks(self, pattern: str) -> bool:
        """Return whether the kernel lacks what a pattern needs."""

    def start(self) -> None:
        """Let the workers run."""

    def stop(self) -> None:
        """Stop the workers."""

    def watch_oom(self) -> None:
        """Look out for the next OOM kill."""

    def progress(self) -> Progress:
        """Return the sums over all workers."""

    def cpu_stats(self, cpu: int) -> CpuStats:
        """Return the counters of a CPU's worker."""

    def latency(self, cpu: int, operation: str, *, sample: bool = True) -> Latency:
        """Return the latencies of one kind of operation of a CPU's worker."""


class Bench:
    """One run on a loaded module: fills document, and says on reporter how it goes.

    options: of the run. cpus: those to use. device: the session with the module. watched: what must
    go on whatever is waited for: each raises RunnerError where it does not.
    """

    def __init__(
        self,
        *,
        options: argparse.Namespace,
        cpus: Sequence[int],
        device: Session,
        document: Document,
        reporter: Reporter,
        signals: Signals,
        on_phase_end: Callable[[dict[str, Any], BaseException | None], object] | None = None,
        on_case_end: Callable[[], object] | None = None,
    ) -> None:
        """Take what a run has.

        on_phase_end: called with the record of each phase, and what cut it short if it was.
        on_case_end: called when all that a case gives is in the document.
        """
        self.options = options
        self.cpus = cpus
        self.device = device
        self.document = document
        self.reporter = reporter
        self.signals = signals
        self.watched: list[Callable[[], object]] = []
        self._on_phase_end = on_phase_end
        self._on_case_end = on_case_end
        self._start = time.monotonic()

    @contextmanager
    def phase(self, name: str, order: int) -> Iterator[dict[str, Any]]:
        """Record a phase: its time, and what the kernel's own counters say happened in it.

        Yields the record, which is whole once the phase is over.
        """
        record: dict[str, Any] = {
            "name": name,
            "order": order,
            "start_s": self.elapsed_s(),
            "complete": False,
            "buddyinfo_before": procfs.buddyinfo(),
        }
        self._record_lists(record, "before")
        before = procfs.vmstat()
        error: BaseException | None = None
        try:
            self.reporter.phase(f"order {order}, {name.replace('_', ' ')}", name, order)
            yield record
            record["complete"] = True
        except BaseException as cut_short:
            error = cut_short
            raise
        finally:
            record["duration_s"] = round(self.elapsed_s() - record["start_s"], 6)
            record["vmstat_delta"] = procfs.difference(before, procfs.vmstat())
            record["buddyinfo_after"] = procfs.buddyinfo()
            self._record_lists(record, "after")
            self.document.run["phases"].append(record)
            if self._on_phase_end is not None:
                self._on_phase_end(record, error)

    def _record_lists(self, record: dict[str, Any], moment: str) -> None:
        """Record the lists of each CPU, and free memory by type, around a phase that has them."""
        phase = record["name"]
        seen = {"phase": phase, "order": record["order"], "moment": moment}
        if phase in measured_phases():
            self._see("pcp", seen, [zone.record() for zone in cpu_lists.read()])
        if moment in typed_moments().get(phase, ()):
            self._see("free_by_type", seen, page_types.read())

    def _see(self, name: str, seen: dict[str, Any], zones: list[dict[str, Any]]) -> None:
        if zones:
            self.document.run.setdefault(name, []).append({**seen, "zones": zones})

    def case_ended(self) -> None:
        """Say that all that a case gives is in the document."""
        if self._on_case_end is not None:
            with self.signals.deferred():
                self._on_case_end()

    def elapsed_s(self) -> float:
        """Return the time since the run began, in s."""
        return round(time.monotonic() - self._start, 6)

    def warn(self, text: str) -> None:
        """Tell, and record, what makes the result less than it should be."""
        self.document.warn(text)
        self.reporter.warning(text)
