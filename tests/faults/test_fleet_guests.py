# SPDX-License-Identifier: GPL-2.0-only
"""The benchmark on three guests with two kernels, by one command: real Ansible, real runs."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest

pytestmark = pytest.mark.seconds(600)

KERNELS = {"old-a": "6.1", "old-b": "6.1", "new": "6.12"}
MEMORY = "768M"
RUN = ("--iterations", "1", "--alloc-orders", "0", "--label", "rack=tcg")
METRIC = "idle_available_bytes"


@pytest.fixture(scope="module")
def guests() -> Iterator[dict[str, Guest]]:
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(Guest(kernel=kernel, cpus=1, nodes=1, memory=MEMORY))
            for name, kernel in KERNELS.items()
        }


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundles")
    for kernel in sorted(set(KERNELS.values())):
        request = BuildRequest(kdir=kernels.fetch(kernel).kdir, output=place / f"{kernel}.run")
        build(request, progress=lambda _message: None)
    return place


def fleet_run(
    guests: dict[str, Guest], bundles: Path, place: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    (place / "hosts.ini").write_text(inventory(guests))
    command = [
        sys.executable, "-m", "page_alloc_bench.cli", "fleet", "run", place / "hosts.ini",
        "--bundles", bundles, "--store", place / "store", "--dir", place / "fleet",
        "--poll-s", "10", *options,
    ]  # fmt: skip
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3000, check=False
    )


def inventory(guests: dict[str, Guest]) -> str:
    """The hosts as Ansible wants them, which makes connections of its own."""
    lines = []
    for name, guest in guests.items():
        options = [word for word in guest.ssh_options("ssh", "root")[3:] if "=" in word]
        words = " ".join(f"-o {word}" for word in options if not word.startswith("ControlPath"))
        lines.append(f'{name} ansible_ssh_common_args="-F none {words}"')
    return "\n".join(lines) + "\n"


def leftovers(guest: Guest) -> str:
    return guest.run(
        ["sh", "-c", "ls -d /var/tmp/page-alloc* /root/.ansible /tmp/pab* /tmp/page-alloc* "
         "/dev/shm/page-alloc* /run/page-alloc* 2>/dev/null;"
         "grep ^page_alloc_bench /proc/modules; exit 0"]
    ).stdout  # fmt: skip


def test_a_fleet_of_two_kernels_is_measured_and_left_as_it_was(
    guests: dict[str, Guest], bundles: Path, tmp_path: Path
) -> None:
    ran = fleet_run(guests, bundles, tmp_path, "--", *RUN)
    assert ran.returncode == 0, ran.stderr
    told = dict(line.split(maxsplit=1) for line in ran.stdout.splitlines())
    assert {name: word.split()[0] for name, word in told.items()} == dict.fromkeys(KERNELS, "ok"), (
        told
    )

    results = {name: result(tmp_path / f"fleet/results/{name}.json.gz") for name in KERNELS}
    assert {name: each["run"]["kernel"]["release"] for name, each in results.items()} == {
        name: kernels.fetch(kernel).release for name, kernel in KERNELS.items()
    }
    for each in results.values():
        (available,) = each[f"{METRIC}_order0"]
        assert 0.3 < available / each["run"]["machine"]["memory_bytes"] < 1
    assert query(tmp_path / "store") == query(tmp_path / "fleet/results")
    assert {name: leftovers(guest) for name, guest in guests.items()} == dict.fromkeys(KERNELS, "")


def result(path: Path) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return whole


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
