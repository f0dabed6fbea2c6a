# SPDX-License-Identifier: GPL-2.0-only
"""Sides of a comparison that are drawn from recorded runs, with a change planted or without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

import recorded
from page_alloc_bench.analysis import per_run, results

Runs = list[results.Result]
Plant = Callable[[recorded.Document], recorded.Document]
ALLOCATION = tuple(("kernel_page_alloc_latencies_ns", order) for order in (0, 4))
_DOCUMENTS = recorded.documents(recorded.BASE)


def load(directory: Path, plant: Plant = dict) -> Runs:
    """Return the runs with their figures, which are taken once: a run is in many draws."""
    read = results.load_all([recorded.write(directory, map(plant, _DOCUMENTS))])
    return [replace(run, kept=per_run.statistics(run)) for run in read]


def draw(base: Runs, new: Runs, size: int, seed: int) -> tuple[Runs, Runs]:
    """Return so many runs per side, no recorded run being in both."""
    order = np.random.default_rng(seed).permutation(len(base))
    return [base[i] for i in order[:size]], [new[i] for i in order[size : 2 * size]]
