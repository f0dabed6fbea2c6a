# SPDX-License-Identifier: GPL-2.0-only
"""A report of twenty results with all their samples can be mailed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recorded
from page_alloc_bench.analysis import report, results
from page_alloc_bench.analysis.results import Result
from reporting import Change, Page, changed, embedded


def many_samples(seed: int) -> Change:
    """Return what makes a result one with as many samples as the default keeps."""

    def change(document: dict[str, Any]) -> None:
        rng = np.random.default_rng(seed)
        for name in document:
            if name.endswith(("latencies_ns_order0", "latencies_ns_order4")):
                document[name] = rng.lognormal(7, 1, 50_000).astype(int).tolist()
        document["run"]["started_at"] = f"2026-01-01T00:00:{seed:02}Z"

    return change


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    place = tmp_path_factory.mktemp("large")
    base = results.load(min(recorded.BASE.iterdir()))
    return [changed(base, place / f"{n:02}.json", many_samples(n), orders=2) for n in range(20)]


def test_twenty_results_are_not_too_large(large: list[Result], tmp_path: Path) -> None:
    text = report.html(large[:10], large[10:], allow=["*"])
    assert len(text.encode()) <= 6e6
    assert "they lack the latency samples" in Page(text).text
    found = embedded(text)
    assert len(found) == 20
    for name, data in found.items():
        path = tmp_path / name
        path.write_bytes(data)
        kept = results.load(path)
        assert not kept.values("kernel_page_alloc_latencies_ns", 0).size
        assert kept.values("kernel_page_alloc_latency_histogram", 0).size
