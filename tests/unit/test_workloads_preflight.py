# SPDX-License-Identifier: GPL-2.0-only
"""What the preflight says of a run of rates, and a comparison of what such runs differ in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import recorded
from page_alloc_bench.cli import main
from page_alloc_bench.runner import options
from page_alloc_bench.runner.preflight import verdict
from page_alloc_bench.runner.preflight.host import Host, Module


def preflight(tmp_path: Path, available_mib: int, *words: str) -> list[tuple[str, str]]:
    asked = options.parse(["--workload=bursts", "--alloc-orders=0", *words])
    (tmp_path / "proc").mkdir(exist_ok=True)
    kib = available_mib << 10
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 9999999 kB\nMemAvailable: {kib} kB\n")
    host = Host(asked, root=str(tmp_path), affinity={0, 1})
    checks = [each for each in verdict.checks_for(asked) if each.name == "held-memory"]
    return [(each.severity, each.found) for each in verdict.look(host, checks)]


def test_the_preflight_says_what_is_left_out_and_refuses_where_nothing_is_left(
    tmp_path: Path,
) -> None:
    assert preflight(tmp_path, 1000, "--depth=16,1000") == []
    ((severity, found),) = preflight(tmp_path, 24, "--depth=16,1000")
    assert (severity, found[:42]) == ("warn", "1 of 2 cases of bursts would hold up to 7 ")
    ((severity, _),) = preflight(tmp_path, 24, "--depth=1000,2000")
    assert severity == "refuse"


def test_the_preflight_asks_nothing_about_the_oom_killer_of_a_run_that_fills_nothing() -> None:
    of_rates = {c.name for c in verdict.checks_for(options.parse(["--workload=pairs,bursts"]))}
    of_all = {
        c.name for c in verdict.checks_for(options.parse(["--workload=pairs,available-memory"]))
    }
    assert of_all == {check.name for check in verdict.CHECKS}
    assert not of_rates & {"panic-on-oom", "oom-daemon", "swap", "short-memory", "memory-cgroup"}
    assert {"root", "module", "held-memory", "clocksource"} <= of_rates


@pytest.mark.parametrize("name", ["exact", "pairs", "exits", "available-memory"])
def test_a_kernel_that_loads_no_modules_is_told_by_every_workload(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/modules_disabled").write_text("1\n")
    asked = options.parse([f"--workload={name}"])
    host = Host(asked, root=str(tmp_path), module=Module())
    checks = [each for each in verdict.checks_for(asked) if each.name == "modules-disabled"]
    (found,) = verdict.look(host, checks)
    assert (found.severity, found.line().partition("; ")[0]) == (
        "refuse",
        "kernel.modules_disabled is 1: this kernel loads no modules until the next boot",
    )


@pytest.mark.parametrize(("new_high", "told"), [(420, False), (499, False), (600, True)])
def test_a_comparison_says_where_the_lists_of_the_cpus_hold_another_amount(
    new_high: int, told: bool, tmp_path: Path
) -> None:
    def write(side: str, first: int, high: int) -> Path:
        made = recorded.documents(recorded.BASE)[first : first + 2]
        zones = [{"zone": "node 0 zone Normal", "high": {"300": "0", str(high): "1"}}]
        for each in made:
            each["run"]["pcp"] = [{"moment": "before", "zones": zones}]
        return recorded.write(tmp_path / side, made)

    base, new = write("base", 0, 400), write("new", 2, new_high)
    done = CliRunner().invoke(main, ["compare", str(base), "--vs", str(new), "--format", "json"])
    said = " ".join(json.loads(done.output)["warnings"])
    assert ("holds 400 pages of node 0 zone Normal in base and 600 in new" in said) is told
