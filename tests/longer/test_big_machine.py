# SPDX-License-Identifier: GPL-2.0-only
"""1024 CPUs and 64 nodes, by simulation: what a run takes and writes, and who can read it."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import big_machine
import by_schema
from page_alloc_bench.cli import main
from page_alloc_bench.runner import options
from page_alloc_bench.runner.kernel import cgroup, procfs
from page_alloc_bench.runner.module import sampling
from page_alloc_bench.runner.preflight import load, verdict
from page_alloc_bench.runner.preflight.host import Host
from page_alloc_bench.runner.result import summary
from page_alloc_bench.runner.workloads import available_memory

CPUS, NODES = big_machine.CPUS, big_machine.NODES


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return big_machine.make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def written(tree: Path) -> tuple[Path, dict[str, Any]]:
    """The result file of a run, and what the run took."""
    return big_machine.ran(tree)


@pytest.fixture(scope="module")
def document(written: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(written[0].read_text())
    return document


def test_the_result_is_not_too_large(written: tuple[Path, dict[str, Any]]) -> None:
    assert 1_000_000 < written[0].stat().st_size <= big_machine.MOST_BYTES


def test_the_runner_stays_small_and_quick(written: tuple[Path, dict[str, Any]]) -> None:
    """Seen: 28 MB at most, of which Python and the modules are 17; 4 seconds."""
    took = written[1]
    assert took["peak_kib"] < 36 << 10
    assert took["with_summary_kib"] < 40 << 10
    assert took["seconds"] < 120


def test_the_summary_fits(written: tuple[Path, dict[str, Any]]) -> None:
    told = written[1]["summary"]
    assert max(map(len, told.splitlines())) <= summary.WIDTH
    assert "CPUs 0-1023, 64 node(s), 12,288.00 GiB" in told
    assert "on 1024 CPUs" in told


def test_the_result_is_by_the_schema(document: dict[str, Any]) -> None:
    by_schema.hold(document)


def test_each_cpu_and_node_is_in_it(document: dict[str, Any]) -> None:
    run = document["run"]
    assert run["complete"] is True
    assert [node["node"] for node in run["machine"]["nodes"]] == list(range(NODES))
    assert run["machine"]["node_of_cpu"] == {
        str(cpu): big_machine.node_of(cpu) for cpu in range(CPUS)
    }
    assert [clock["cpu"] for clock in run["clocks"]] == list(range(CPUS))
    assert [clock["node"] for clock in run["clocks"]] == list(map(big_machine.node_of, range(CPUS)))
    for order in (0, 4):
        per_cpu = document[f"kernel_page_allocs_per_cpu_order{order}"]
        assert len(per_cpu) == CPUS
        assert [sum(per_cpu)] == document[f"kernel_page_allocs_order{order}"]
        timed = document[f"kernel_page_allocs_timed_order{order}"]
        assert [sum(document[f"kernel_page_alloc_latency_histogram_order{order}"])] == timed
        assert len(document[f"kernel_page_alloc_latencies_ns_order{order}"]) == 50_000


def test_the_run_did_what_was_planned(document: dict[str, Any]) -> None:
    run = document["run"]
    assert [(phase["name"], phase["order"]) for phase in run["phases"]] == available_memory.phases(
        run["parameters"]["alloc_orders"]
    )


def test_the_preflight_has_nothing_to_say_of_its_size(tree: Path) -> None:
    cgroup.own.cache_clear()
    host = Host(
        options.parse([]), root=str(tree), affinity=set(range(CPUS)), euid=0,
        release="6.1", inherited=dict, open_log=lambda path: os.open(path, os.O_RDONLY),
    )  # fmt: skip
    checks = [check for check in verdict.CHECKS if check not in load.CHECKS]
    assert {finding.name for finding in verdict.look(host, checks)} <= {"kernel-config"}
    assert host.cpu_list("sys/devices/system/node/online")[-1] == 63
    assert procfs.zone_pages(str(tree)) == (66 * sum(n % 100 for n in range(CPUS)), 66 * 5000)


def test_as_many_reservoirs_as_cpus_are_never_in_memory_at_once() -> None:
    capacity = sampling.capacity_per_cpu(50_000, CPUS)
    alive = most = 0

    class Reservoir(list[int]):
        def __init__(self) -> None:
            nonlocal alive, most
            super().__init__([100] * capacity)
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    reservoirs = (Reservoir() for _ in range(CPUS))
    merged = sampling.merge_samples([10**6] * CPUS, [capacity] * CPUS, reservoirs, 50_000, 1)
    assert len(merged) == 50_000
    assert most <= 2


THREADS = """
import os, resource, sys, threading, time
from page_alloc_bench.runner.measuring.findlimit import populate
from page_alloc_bench.runner.measuring.findlimit.board import Board

class Idle(populate.Populator):
    def work_on(self, number):
        time.sleep(3600)

threads = 1024
os.sched_setaffinity = lambda *_: None
populate.lock_resident = lambda **_: True
work = populate.plan((0,) * threads, 12 << 40, 12 << 40, 2 << 20, "inherit")
board = Board(threads)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
threading.Thread(target=Idle(work, board).run, daemon=True).start()
while not board.started_ns:
    time.sleep(0.01)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(board.thread_ids), after - before, board.size_bytes, work.piece_bytes * threads,
      flush=True)
os._exit(0)
"""


def test_the_child_of_findlimit_has_a_thread_a_cpu() -> None:
    """Without CPUs to bind them to, and before they take any memory. Seen: 17 MB, 0.1 s."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    threads, grown_kib, board_bytes, piece_bytes = map(int, done.stdout.split())
    assert threads == 1024
    assert grown_kib < 48 << 10
    assert board_bytes < 80 << 10
    assert piece_bytes < (12 << 40) // 500  # what may go uncounted at the end


def test_show_takes_it(written: tuple[Path, dict[str, Any]]) -> None:
    done = CliRunner().invoke(main, ["show", str(written[0])])
    assert done.exit_code == 0, done.output
    assert "1024 CPUs" in done.stdout


def test_compare_and_report_take_it(document: dict[str, Any], tmp_path: Path) -> None:
    for month, (side, release) in enumerate((("base", "6.1"), ("new", "6.2")), 1):
        (tmp_path / side).mkdir()
        for number in range(2):
            run = copy.deepcopy(document)
            run["run"]["kernel"]["release"] = release
            run["run"]["started_at"] = f"2026-0{month}-0{number + 1}T00:00:00Z"
            run["antagonist_held_bytes_order0"] = [2 * month + number]  # no two are one run
            path = tmp_path / side / f"{number}.json"
            path.write_text(json.dumps(run))
    compared = CliRunner().invoke(
        main, ["compare", str(tmp_path / "base"), "--vs", str(tmp_path / "new")]
    )
    assert compared.exit_code == 2, compared.output
    page = tmp_path / "page.html"
    done = CliRunner().invoke(main, ["report", str(tmp_path / "base"), "-o", str(page)])
    assert done.exit_code == 0, done.output
    assert "CPU 1023" in page.read_text()
    assert page.stat().st_size < big_machine.MOST_BYTES
