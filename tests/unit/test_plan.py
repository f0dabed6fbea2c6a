# SPDX-License-Identifier: GPL-2.0-only
"""What a run will do is known before it begins."""

from __future__ import annotations

import pytest

from page_alloc_bench.runner import workload
from page_alloc_bench.runner.result import document, metrics
from page_alloc_bench.runner.workloads import available_memory


@pytest.mark.parametrize("orders", [[0], [4], [0, 4], [4, 0], [9, 0, 4]])
def test_all_idle_phases_come_before_the_first_antagonist(orders: list[int]) -> None:
    phases = available_memory.phases(orders)
    names = [name for name, _ in phases]
    last_idle = max(i for i, name in enumerate(names) if name == "idle")
    assert names.index("steady_wait") > last_idle
    assert [order for name, order in phases if name == "idle"] == orders
    assert [order for name, order in phases if name == "antagonized"] == orders
    for order in orders:
        mine = [name for name, of in phases if of == order]
        assert sorted(mine) == sorted(
            ["configure", "idle", "steady_wait", "antagonized", "stop", "results"]
        )
        assert mine.index("configure") < mine.index("steady_wait")
    assert len(set(phases)) == len(phases)
    # What the module takes for itself is not in what idle has and antagonized lacks.
    assert names[0] == "configure"


def test_the_names_are_those_of_the_schema() -> None:
    phases = document.schema()["properties"]["run"]["properties"]["phases"]
    of_others = {phase.name for phase in metrics.phases()}
    of_the_schema = set(phases["items"]["properties"]["name"]["enum"])
    assert {name for name, _ in available_memory.phases([0])} | of_others == of_the_schema
    for each in workload.every().values():
        assert set(each.fills) <= of_the_schema
