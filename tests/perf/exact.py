# SPDX-License-Identifier: GPL-2.0-only
"""How exact the counted instructions are: boots of one kernel against each other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from page_alloc_bench.analysis.instructions.path_length import LAYOUT, OFF_LISTS, Side
from page_alloc_bench.targets import bootable, exact, kernel_bundle
from perf.figures import Figure, at_most

KERNELS = ("5.10", "6.1", "6.12", "7.3")
BOOTS = 3
# Random numbers, and so layouts of memory, besides those of these boots.
OTHERS = (2, 3, 4)


def boots(names: Sequence[str] = KERNELS) -> Iterator[Figure]:
    """Boot each kernel three times, then with other random numbers."""
    for name in names:
        kernel = bootable.find(name)
        with tempfile.TemporaryDirectory(prefix="pab-perf.") as scratch:
            bundle = Path(scratch) / "bench.run"
            kernel_bundle.build(kernel, bundle)
            same, others = (
                [exact.measure(bundle, kernel.image, kernel.arch, seed=seed) for seed in seeds]
                for seeds in ([exact.SEED] * BOOTS, OTHERS)
            )
        yield from figures(name, same)
        yield from of_layouts(name, [*same[:1], *others])


def figures(name: str, results: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    """Yield how far these boots of one kernel differ, and the sums of functions from the whole."""
    side = Side(name, name, results)
    yield at_most(
        f"{name}: boots differ by, millionths", 1e6 * max(map(side.spread, side.cases())), 50
    )
    off = [
        abs(where["total"]["instructions"] / case["instructions"] - 1)
        for result in results
        for case, where in zip(result["run"]["exact"]["cases"], result["run"]["where"])
    ]
    yield at_most(f"{name}: sum over functions is off by, thousandths", 1e3 * max(off), 1)
    widths = [width for case in side.cases() for width in side.widths(case).values()]
    yield at_most(f"{name}: a function differs by, instructions", max(widths), 0.05)


def of_layouts(name: str, results: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    """Yield how far boots differ whose memory is laid out otherwise: less than is told."""
    side = Side(name, name, results)
    for orders, bar in (((0,), 0.001), (OFF_LISTS, LAYOUT)):
        spreads = {side.spread(case): case for case in side.cases() if case.order in orders}
        worst = spreads[max(spreads)]
        yield at_most(
            f"{name}: layouts differ by, millionths, {worst}", 1e6 * max(spreads), 1e6 * bar
        )
