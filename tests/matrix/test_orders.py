# SPDX-License-Identifier: GPL-2.0-only
"""The memory by which `compare` decides does not depend on which order is measured first."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from page_alloc_bench.packager.build import EMBEDDED, BuildRequest, build
from page_alloc_bench.targets import foreign_python, kernels
from page_alloc_bench.targets.appliance import Appliance
from page_alloc_bench.targets.building import tree_request

pytestmark = pytest.mark.seconds(240)
RUNS = ("0,4", "4,0")
_SCRIPT = "\n".join(
    f"./bench.run --iterations 3 --alloc-orders {orders} --output-path {orders}.json || exit"
    for orders in RUNS
)


# What the antagonist of the order before leaves in the lists of the CPUs: little up to 6.6, much
# from 6.7 on, where the lists tune their own size.
@pytest.mark.parametrize("name", ["6.1", "6.12", "7.3"])
def test_reachable_idle_memory_is_the_same_whichever_order_is_first(
    name: str, tmp_path: Path
) -> None:
    fetched = kernels.fetch(name)
    bundle = tmp_path / "bench.run"
    request = BuildRequest(
        **vars(tree_request(fetched)), output=bundle, python=EMBEDDED,
        fetch_python=foreign_python.fetch,
    )  # fmt: skip
    build(request)
    files = [f"/root/{orders}.json" for orders in RUNS]
    done = Appliance(fetched, 2, 1, "1G").run(
        _SCRIPT, {"/root/bench.run": bundle}, files, timeout=1200
    )
    assert done.status == 0, done.stderr
    for file in files:
        document = json.loads(done.files[file])
        means = [
            statistics.fmean(document[f"idle_reachable_bytes_order{order}"]) for order in (0, 4)
        ]
        assert max(means) < 1.005 * min(means), (file, means)
