# SPDX-License-Identifier: GPL-2.0-only
"""Recorded runs as if they were of many kernels, of which some change a figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

import recorded

RUNS = recorded.documents(recorded.BASE)
KERNELS = [f"6.{number}.0" for number in range(1, 13)]
BOOTS = 4

Change = Callable[[recorded.Document, int, int], recorded.Document | None]


def unchanged(*_of_a_run: object) -> None:
    """Change nothing."""


def written(directory: Path, change: Change = unchanged) -> Path:
    """Write results of BOOTS boots of each of KERNELS, by time; change: by kernel and boot.

    They are recorded runs of one kernel: what differs among them is noise.
    """
    directory.mkdir(exist_ok=True)
    rng = np.random.default_rng(7)
    for kernel, name in enumerate(KERNELS):
        for boot, which in enumerate(rng.choice(len(RUNS), BOOTS, replace=False)):
            document = json.loads(json.dumps(RUNS[which]))
            document = recorded.plant_memory(document, 1 + rng.normal(0, 0.002))
            run = document["run"]
            run["kernel"].update(release=name, version=f"#1 SMP {name}")
            run["boot_id"] = f"{kernel}-{boot}"
            run["started_at"] = f"2026-01-{kernel + 1:02}T{boot:02}:00:00Z"
            document = change(document, kernel, boot) or document
            (directory / f"{kernel:02}-{boot}.json").write_text(json.dumps(document))
    return directory


def less_memory(since: int, until: int = len(KERNELS)) -> Change:
    def change(document: recorded.Document, kernel: int, _: int) -> recorded.Document | None:
        return recorded.plant_memory(document, 0.9) if since <= kernel < until else None

    return change
