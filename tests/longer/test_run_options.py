# SPDX-License-Identifier: GPL-2.0-only
"""Runs that differ from the default in more than a number, and a host that has another kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import by_schema
from page_alloc_bench.targets.guest import Guest
from users_host import bench, traces


@pytest.fixture(scope="module")
def host(guest: Guest, bundle: Path) -> Guest:
    guest.copy_to(bundle, "/home/bench/bench.run", user="bench")
    return guest


def test_latencies_all_times_every_operation_within_a_bounded_sample(host: Guest) -> None:
    options = "--iterations 1 --alloc-orders 0 --latencies all --sample-size 500"
    result = json.loads(bench(host, options).stdout)
    by_schema.hold(result)
    count, timed = result["kernel_page_allocs_order0"][0], result["kernel_page_allocs_timed_order0"]
    # Retries after a failure are not part of the count of those chosen.
    assert timed[0] == pytest.approx(count, rel=0.001)
    assert len(result["kernel_page_alloc_latencies_ns_order0"]) == 500


def test_an_extracted_bundle_runs_the_same_and_keeps_nothing_else(host: Guest) -> None:
    before = traces(host)
    host.run("./bench.run --extract there && test -f there/manifest.json", user="bench")
    # In the ancestor's spelling, and with mappings that are smaller than memory.
    options = "-iterations=1 -alloc-orders=1 -findlimit-mmap-size-gib 1 -latencies=true --verbose"
    done = host.run(f"cd / && sudo /home/bench/there/run.sh {options}", user="bench")
    result = json.loads(done.stdout)
    by_schema.hold(result)
    assert result["run"]["parameters"]["findlimit_mmap_size_gib"] == 1
    assert result["idle_available_bytes_order1"][0] > 1 << 30
    assert "loading modules/" in done.stderr
    host.run("rm -r /home/bench/there")
    assert traces(host) == before


def test_a_kernel_that_the_bundle_has_no_module_for(bundle: Path) -> None:
    with Guest("5.10", cpus=1, nodes=1, memory="512M") as other:
        other.copy_to(bundle, "/root/bench.run")
        done = other.run("./bench.run", check=False)
        assert done.returncode == 3
        assert done.stdout == ""
        assert "6.1.0" in done.stderr
        assert other.run("uname -r").stdout.strip() in done.stderr
