# SPDX-License-Identifier: GPL-2.0-only
"""Free memory by order and migratetype, before and after what a run measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from page_alloc_bench.analysis.results import Result
from page_alloc_bench.runner.result.case import Case

Floats = NDArray[np.float64]
Span = tuple[str, str]  # the phase before which it begins, and the one after which it ends

_UNCOUNTED = 100_000.0  # blocks: of more the kernel says no number, and there are as many at least


@dataclass(frozen=True)
class Change:
    """Free bytes by migratetype, in blocks of each order, before and after a span of one run."""

    before: Mapping[str, Floats]
    after: Mapping[str, Floats]

    def of(self, name: str) -> Floats:
        """Return by how much the free bytes of a migratetype changed, by order."""
        ends = [moment.get(name, np.zeros(1)) for moment in (self.before, self.after)]
        depth = max(map(len, ends))
        before, after = (np.pad(end, (0, depth - len(end))) for end in ends)
        return np.asarray(after - before)


def changes(results: Sequence[Result], case: Case) -> dict[Span, list[Change]]:
    """Return what changed in each span of a case's order, one per run that noted it."""
    found: dict[Span, list[Change]] = {}
    if case.chosen:
        return found
    for result in results:
        for before, after in _pairs(result, case):
            page = float(result.run["kernel"]["page_size_bytes"])
            span = before["phase"], after["phase"]
            found.setdefault(span, []).append(Change(_free(before, page), _free(after, page)))
    return found


def types(found: Sequence[Change]) -> list[str]:
    """Return the migratetypes of which anything was free, those first of which it was most."""
    sums: dict[str, float] = {}
    for change in found:
        for moment in (change.before, change.after):
            for name, free in moment.items():
                sums[name] = sums.get(name, 0.0) + float(free.sum())
    return sorted(sums, key=lambda name: -sums[name])


def _pairs(result: Result, case: Case) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each reading before a phase with the next one after a phase, of the same order."""
    last = None
    for seen in result.run.get("free_by_type", ()):
        if seen["order"] != case.order:
            continue
        if seen["moment"] == "before":
            last = seen
        elif last is not None:
            yield last, seen
            last = None


def _free(seen: Mapping[str, Any], page: float) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for zone in seen["zones"]:
        for name, counts in zone["free"].items():
            blocks = np.array([_UNCOUNTED if n is None else float(n) for n in counts])
            free = blocks * page * 2.0 ** np.arange(len(blocks))
            found[name] = found[name] + free if name in found else free
    return found
