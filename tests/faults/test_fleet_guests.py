# SPDX-License-Identifier: GPL-2.0-only
"""The benchmark on three guests with two kernels, by one command: real Ansible, real runs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import restarting
from fleet_guests import METRIC, GuestFleet, leftovers
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest

pytestmark = pytest.mark.seconds(600)

KERNELS = {"old-a": "6.1", "old-b": "6.1", "new": "6.12"}
MEMORY = "768M"


@pytest.fixture(scope="module")
def guests() -> Iterator[dict[str, Guest]]:
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(Guest(kernel=kernel, cpus=1, nodes=1, memory=MEMORY))
            for name, kernel in KERNELS.items()
        }


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return restarting.make_bundles(
        tmp_path_factory.mktemp("bundles"), tuple(sorted(set(KERNELS.values())))
    )


def test_a_fleet_of_two_kernels_is_measured_and_left_as_it_was(
    bundles: Path, guests: dict[str, Guest], tmp_path: Path
) -> None:
    fleet = GuestFleet(tmp_path, guests, bundles)
    code, told, err = fleet.run()
    assert (code, told) == (0, dict.fromkeys(KERNELS, "ok")), err

    results = {name: fleet.result(name) for name in KERNELS}
    assert {name: each["run"]["kernel"]["release"] for name, each in results.items()} == {
        name: kernels.fetch(kernel).release for name, kernel in KERNELS.items()
    }
    for each in results.values():
        (available,) = each[f"{METRIC}_order0"]
        assert 0.3 < available / each["run"]["machine"]["memory_bytes"] < 1
    assert query(fleet.store) == query(fleet.dir / "results")
    assert {name: leftovers(guest) for name, guest in guests.items()} == dict.fromkeys(KERNELS, "")


def query(place: Path) -> str:
    """What was measured by release, of a store or of a directory of results."""
    sql = (
        "SELECT runs.release, count(*), sum(median) FROM metrics JOIN runs USING (run_id) "
        f"WHERE metric = '{METRIC}' GROUP BY ALL ORDER BY ALL"
    )
    files = ["--store", place] if (place / "runs").is_dir() else [place]
    command = [sys.executable, "-m", "page_alloc_bench.cli", "query", "--format", "csv", sql]
    ran = subprocess.run(
        [*command, *files], capture_output=True, text=True, timeout=120, check=True
    )
    return ran.stdout
