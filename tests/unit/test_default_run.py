# SPDX-License-Identifier: GPL-2.0-only
"""The default run stays what it is: a machine that is replayed gives the result of long ago.

data/default-run.json.gz was recorded with ABI 2 and before workloads were declared.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import big_machine

RECORDED = Path(__file__).parents[1] / "data/default-run.json.gz"
CPUS, TIMED = 4, 400
# What has been measured besides, since.
ADDED = [
    f"kernel_page_{operation}_{figure}_order{order}"
    for operation in ("alloc", "free")
    for figure in (
        "latency_median_ns_per_cpu", "latency_p99_ns_per_cpu", "latency_max_ns_per_cpu",
        "latency_median_ns_per_slice", "latency_p99_ns_per_slice", "slices_ns",
    )
    for order in (0, 4)
]  # fmt: skip


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress(RECORDED.read_bytes()))
    return document


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    tree = big_machine.make_tree(tmp_path_factory.mktemp("machine"))
    output = tree / "result.json"
    subprocess.run(
        [sys.executable, big_machine.__file__, tree, output, str(CPUS), str(TIMED)],
        env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, check=True,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(output.read_text())
    return document


def test_every_name_and_value_is_the_recorded_one(
    recorded: dict[str, Any], replayed: dict[str, Any]
) -> None:
    then, now = ({k: v for k, v in each.items() if k != "run"} for each in (recorded, replayed))
    assert sorted(now) == sorted([*then, *ADDED])
    assert [name for name in then if now[name] != then[name]] == []


def test_phases_iterations_and_warnings_are_the_recorded_ones(
    recorded: dict[str, Any], replayed: dict[str, Any]
) -> None:
    then, now = recorded["run"], replayed["run"]
    assert [[phase["name"], phase["order"]] for phase in now["phases"]] == then["phases"]
    keys = ("phase", "order", "iteration")
    assert [[each[key] for key in keys] for each in now["iterations"]] == then["iterations"]
    assert now["warnings"] == then["warnings"]
    assert now["clocks"] == then["clocks"]


def test_the_parameters_are_the_recorded_ones(
    recorded: dict[str, Any], replayed: dict[str, Any]
) -> None:
    then, now = recorded["run"]["parameters"], replayed["run"]["parameters"]
    assert {name: now.get(name) for name in then} == then
