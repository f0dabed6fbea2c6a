# SPDX-License-Identifier: GPL-2.0-only
"""What kernel CI reads of a run on a real kernel."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import ktap_reader
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(15)


@pytest.fixture(scope="module")
def host(guest: Guest, bundle: Path) -> Guest:
    guest.copy_to(bundle, "/home/bench/bench.run", user="bench")
    return guest


def bench(host: Guest, options: str) -> CompletedProcess[str]:
    return host.run(f"sudo ./bench.run --ktap {options}", user="bench", check=False)


def modules(host: Guest) -> str:
    return host.run("grep page_alloc_bench /proc/modules || true").stdout


def test_a_whole_run_passes_and_its_values_are_those_of_the_json(host: Guest) -> None:
    done = bench(host, "--iterations 1 --alloc-orders 0,4 --output-path /tmp/ktap.json")
    assert done.returncode == 0, done.stderr
    report = ktap_reader.read(done.stdout)
    assert {test.name: test.result for test in report.tests} == dict.fromkeys(
        ("loaded", "order_0", "order_4", "unloaded", "written", "complete"), "pass"
    )
    result = json.loads(host.run("sudo cat /tmp/ktap.json; sudo rm /tmp/ktap.json").stdout)
    for order in (0, 4):
        told = report.test(f"order_{order}")
        assert {test.result for test in told.subtests} == {"pass"}
        name = f"idle_available_bytes_order{order}"
        values = " ".join(map(str, result[name]))
        assert f"{name}: {values}" in told.sub("idle").diagnostics
    assert "complete" in done.stdout.splitlines()[-1]


def test_a_timeout_fails_where_it_struck_and_skips_the_rest(host: Guest) -> None:
    done = bench(host, "--iterations 100 --alloc-orders 0,4 --timeout-s 20")
    assert done.returncode == 124
    report = ktap_reader.read(done.stdout)
    idle = report.test("order_0").sub("idle")
    assert (idle.result, idle.directive) == ("fail", "TIMEOUT")
    assert report.test("order_0").sub("antagonized").result == "skip"
    assert report.test("order_4").result == "skip"
    assert report.test("unloaded").result == "pass"
    assert report.test("written").result == "skip"
    assert report.test("complete").text == "not finished within --timeout-s=20"
    assert modules(host) == ""


@pytest.mark.parametrize("options", ["--held 100000", "--alloc-orders 40", "--cpus 77"])
def test_a_refusal_bails_out(host: Guest, options: str) -> None:
    done = bench(host, options)
    assert done.returncode in (2, 3)
    report = ktap_reader.read(done.stdout)
    assert report.bailed_out
    assert report.bailed_out in done.stderr
    assert modules(host) == ""


def test_a_run_ends_when_nobody_reads_it_any_more(host: Guest) -> None:
    done = host.run(
        "(sudo ./bench.run --ktap --iterations 100 --alloc-orders 0; echo status $? >&2) | "
        "sed '/ok 1 loaded/q'",
        user="bench",
        timeout=PATIENCE_S,
    )
    assert done.stdout.splitlines()[-1] == "ok 1 loaded"
    assert "stdout was closed by its reader" in done.stderr
    assert "status 1" in done.stderr
    assert modules(host) == ""
