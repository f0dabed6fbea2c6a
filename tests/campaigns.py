# SPDX-License-Identifier: GPL-2.0-only
"""Campaigns without guests: kernels whose boots measure, or fail, as they are told to."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import recorded
from page_alloc_bench.campaign.journal import Journal
from page_alloc_bench.campaign.timed import plan, verdict
from page_alloc_bench.campaign.timed.loop import Campaign, Ending
from page_alloc_bench.targets.outcome import Outcome

SPREAD = 0.004  # of a boot; the threshold of memory is 2 %
_BYTES = 800_000_000
_NAMES = [f"{phase}_available_bytes_order0" for phase in ("idle", "antagonized")]
_RECORDED = recorded.documents(recorded.BASE)[0]["run"]
_boots = itertools.count()


def result(memory: float) -> dict[str, Any]:
    """A result of a boot of its own, with so much memory had, 1 being as usual."""
    number = next(_boots)
    run = copy.deepcopy(_RECORDED)
    run["boot_id"] = f"boot-{os.getpid()}-{number}"
    run["started_at"] = f"2026-01-01T{number // 60 % 24:02}:{number % 60:02}:00Z"
    run["warnings"] = []
    return {"run": run, **{name: [round(_BYTES * memory)] * 3 for name in _NAMES}}


class Kernel:
    """memory: of each boot. ends: an outcome for each boot, instead; None for a healthy one."""

    def __init__(self, name: str, memory: Iterator[float]) -> None:
        self.name, self.label = name, f"kernel {name}"
        self.memory, self.booted = memory, 0
        self.ends: Callable[[int], Outcome | None] | None = None

    def measure(self) -> Outcome:
        self.booted += 1
        special = self.ends(self.booted) if self.ends else None
        return special or Outcome("ok", result(next(self.memory)), console="it booted")


def around(middle: float, seed: int, spread: float = SPREAD) -> Iterator[float]:
    """Boots around a level."""
    rng = np.random.default_rng(seed)
    while True:
        yield middle * float(np.exp(rng.normal(0, spread)))


def asked(**more: Any) -> dict[str, Any]:
    """What a command asks for."""
    return {
        "labels": {"base": "6.1", "new": "6.2"},
        "machine": {"cpus": 4, "nodes": 2, "memory_mib": 2048, "accel": "tcg"},
        "thresholds": "memory=2%,rate=5%,median=5%,tail=25%,failures=0.1%,other=5%",
        "confidence": 0.95,
        "metrics": [],
        "allow": [],
        "bench_options": [],
        **more,
    }


def run(
    directory: Path, base: Kernel, new: Kernel, *, most: int = 20, **options: Any
) -> tuple[Ending, list[str]]:
    """Run a campaign, or go on with it; return how it ended, and what it told."""
    told: list[str] = []
    journal = Journal(directory)
    plan.begin(journal, asked(), most=most, seed=1)
    campaign = Campaign(journal, {"base": base, "new": new}, note=told.append, **options)
    return campaign.run(), told


def code(directory: Path, ending: Ending) -> int:
    """Return the exit code, having written the verdict."""
    return verdict.tell(directory, ending, ["page-alloc-bench", "ab"])[1]
