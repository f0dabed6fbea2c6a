# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel counts while processes of ours use memory, held against what they say."""

from __future__ import annotations

from dataclasses import dataclass

from page_alloc_bench.runner.kernel import huge_pages, procfs
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.result.case import Case

# Of our figure, and pages: what is in flight in per-CPU counters, and what others do meanwhile.
_LESS, _MORE, _OTHERS = 0.01, 0.05, 65536
_HUGE_ENOUGH = 0.5


@dataclass(frozen=True)
class Counted:
    """Counters of the kernel, in pages; huge, fallback: in huge pages; None: not counted.

    captured: what direct compaction may have handed over, which is not in allocated: agreement.py.
    """

    allocated: int = 0
    freed: int = 0
    faults: int = 0
    huge: int | None = 0
    fallback: int | None = 0
    captured: int = 0

    def __add__(self, other: Counted) -> Counted:
        return Counted(*(_sum(a, b, 1) for a, b in self._pairs(other)))  # type: ignore[arg-type]

    def __sub__(self, other: Counted) -> Counted:
        return Counted(*(_sum(a, b, -1) for a, b in self._pairs(other)))  # type: ignore[arg-type]

    def _pairs(self, other: Counted) -> zip[tuple[int | None, int | None]]:
        return zip(vars(self).values(), vars(other).values())

    def record(self, bench: Bench, workload: str, case: Case, ours: int, word: str) -> None:
        """Record them as metrics of a workload, and warn where they do not go with our figure.

        word: which of them is of the same pages as ours: allocated or freed.
        """
        put, where = bench.document.put, f"{workload}, {case}"
        kernel = self.allocated if word == "allocated" else self.freed
        put(f"{workload}_pages_by_vmstat", case, [kernel])
        less = ours * _LESS + (self.captured if word == "allocated" else 0)
        if not ours - less <= kernel <= ours * (1 + _MORE) + _OTHERS:
            bench.warn(
                f"{where}: the kernel counts {kernel:,} pages {word}, and our processes {ours:,}: "
                "something else uses memory meanwhile, or its counters are wrong"
            )
        if word == "allocated" and self.faults < (ours >> case.order) * (1 - _LESS):
            bench.warn(
                f"{where}: the kernel counts {self.faults:,} page faults, and our processes "
                f"{ours >> case.order:,}: not all pages were faulted in"
            )
        if not case.order or self.huge is None or self.fallback is None:
            return
        put(f"{workload}_huge_pages", case, [self.huge])
        put(f"{workload}_huge_fallbacks", case, [self.fallback])
        if self.huge << case.order < _HUGE_ENOUGH * ours:
            bench.warn(
                f"{where}: only {self.huge:,} of {ours >> case.order:,} huge pages were huge: this "
                "case is mostly about base pages. Free memory may be fragmented: try it after a "
                "reboot, or after: echo 1 > /proc/sys/vm/compact_memory"
            )


def look(order: int) -> Counted:
    """Read the counters; order: of the huge pages."""
    table = procfs.vmstat()
    huge, fallback = huge_pages.counted(order) or (None, None) if order else (None, None)
    return Counted(
        sum(count for name, count in table.items() if name.startswith("pgalloc_")),
        table.get("pgfree", 0),
        table.get("pgfault", 0),
        huge,
        fallback,
        table.get("compact_success", 0) << order,
    )


def _sum(one: int | None, other: int | None, sign: int) -> int | None:
    return None if one is None or other is None else one + sign * other
