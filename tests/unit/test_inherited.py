# SPDX-License-Identifier: GPL-2.0-only
"""What a process inherits is seen, set back where that can be, and told and compared where not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import recorded
from page_alloc_bench.analysis import results
from page_alloc_bench.analysis.facts_difference import differences
from page_alloc_bench.cli import main
from page_alloc_bench.runner import options
from page_alloc_bench.runner.kernel import oom_log
from page_alloc_bench.runner.preflight import inheritance, verdict
from page_alloc_bench.runner.preflight.check import REFUSE, WARN
from page_alloc_bench.runner.preflight.host import Host
from page_alloc_bench.runner.result.inherited import TRAITS

BUNDLE = Path(__file__).parents[2] / "bundle"
WEAR = [sys.executable, str(Path(__file__).parents[1] / "wear.py")]
LOOK = """
import json
from page_alloc_bench.runner.inherited import table
before = table.look()
reset = table.settle()
print(json.dumps([before, reset, table.look()]))
"""
NAMES = [trait.name for trait in TRAITS]
USUAL = {trait.name: trait.usual[0] for trait in TRAITS}


def settled(*starter: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What a process started in this way has, sets back, and then has."""
    done = subprocess.run(
        [*starter, sys.executable, "-c", LOOK],
        env={**os.environ, "PYTHONPATH": str(BUNDLE)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "Operation not permitted" in done.stderr:
        pytest.skip("only root may start a process in this way")
    assert done.returncode == 0, done.stderr
    before, reset, after = json.loads(done.stdout)
    return before, reset, after


@pytest.mark.parametrize(
    ("starter", "name", "value"),
    [
        (["nice", "-n", "5"], "nice", 5),
        (["chrt", "-b", "0"], "scheduling", "batch"),
        (["chrt", "-i", "0"], "scheduling", "idle"),
        (["chrt", "-f", "50"], "scheduling", "fifo:50"),
        (["chrt", "-r", "1"], "scheduling", "rr:1"),
        (["ionice", "-c", "3"], "io_priority", "idle"),
        (["ionice", "-c", "2", "-n", "7"], "io_priority", "best-effort:7"),
        (["setarch", "-R"], "personality", "0x40000"),
        (["setarch", "linux32"], "personality", "0x8"),
        ([*WEAR, "policy", "bind:0", "--"], "memory_policy", "bind:0"),
        ([*WEAR, "policy", "interleave:0", "--"], "memory_policy", "interleave:0"),
        ([*WEAR, "policy", "preferred:0", "--"], "memory_policy", "preferred:0"),
        ([*WEAR, "timerslack", "7", "--"], "timer_slack_ns", 7),
        ([*WEAR, "thp-disable", "1", "--"], "thp_disabled", 1),
    ],
)
def test_what_can_be_set_back_is(starter: list[str], name: str, value: Any) -> None:
    if shutil.which(starter[0]) is None:
        pytest.skip(f"there is no {starter[0]}")
    before, reset, after = settled(*starter)
    if os.geteuid() != 0 and name == "nice":
        pytest.skip("only root may be less nice")
    assert before[name] == reset[name] == value
    assert after[name] in next(trait.usual for trait in TRAITS if trait.name == name)


def test_limits_are_lifted_as_far_as_may_be() -> None:
    limits = ["prlimit", "--cpu=100:200", "--fsize=1000000", "--nofile=200:4096"]
    before, _reset, after = settled(*limits)
    assert before["resource_limits"] == "CPU=100 FSIZE=1000000 NOFILE=200"
    # The hard limits are root's to lift.
    assert after["resource_limits"] in ("", "CPU=200 FSIZE=1000000")


def test_limits_that_are_far_off_are_not_told() -> None:
    before, reset, _after = settled("prlimit", "--nofile=4096:4096", "--memlock=65536", "--core=0")
    assert before["resource_limits"] == ""
    assert "resource_limits" not in reset


def test_variables_that_steer_memory_are_told() -> None:
    before, reset, after = settled("env", "MALLOC_ARENA_MAX=1", "GLIBC_TUNABLES=")
    assert before["environment"] == after["environment"] == "GLIBC_TUNABLES MALLOC_ARENA_MAX"
    assert "environment" not in reset


def test_a_filter_of_system_calls_is_told() -> None:
    before, _reset, after = settled(*WEAR, "seccomp", "9999", "--")
    assert before["seccomp"] == after["seccomp"] == "filter"


def test_what_is_as_usual_is_not_touched() -> None:
    before, reset, after = settled("env")
    assert before == after
    assert reset == {}
    assert list(before) == NAMES


def host(values: dict[str, Any], euid: int = 0) -> Host:
    return Host(options.parse([]), euid=euid, inherited=lambda: {**USUAL, **values})


def found(host: Host) -> list[tuple[str, str]]:
    return [(f.name, f.severity) for f in verdict.look(host, inheritance.CHECKS)]


def test_nothing_is_said_of_what_is_usual_or_cannot_be_known() -> None:
    assert found(host({})) == []
    assert found(host(dict.fromkeys(NAMES))) == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != "missing_capabilities"])
def test_whatever_stays_is_warned_of_with_what_to_do(name: str) -> None:
    (finding,) = verdict.look(host({name: "odd"}), inheritance.CHECKS)
    assert (finding.name, finding.severity) == ("inherited", WARN)
    assert f"{name.replace('_', ' ')} odd" in finding.found
    assert finding.meaning
    assert finding.advice


def test_root_without_capabilities_is_refused() -> None:
    missing = {"missing_capabilities": "sys_module sys_resource"}
    (finding,) = verdict.look(host(missing), inheritance.CHECKS)
    assert (finding.name, finding.severity) == ("capabilities", REFUSE)
    assert "CAP_SYS_MODULE, CAP_SYS_RESOURCE" in finding.found
    assert found(host(missing, euid=1000)) == []  # who is told to be root


# Between runs


def inherited(**values: Any) -> dict[str, Any]:
    return {"inherited": {"in_force": {**USUAL, **values}, "reset": {}}}


def constraint(name: str) -> dict[str, Any]:
    iterations = recorded.documents(recorded.BASE)[0]["run"]["iterations"]
    return {"iterations": [{**iterations[0], "constraint": name}, *iterations[1:]]}


def refused(tmp_path: Path, base: dict[str, Any], new: dict[str, Any], *allow: str) -> set[str]:
    """The facts for which two runs, with these parts changed, are not compared."""
    sides = []
    for name, changes in (("base", base), ("new", new)):
        document = recorded.documents(recorded.BASE)[0]
        document["run"].update(changes)
        sides.append(results.load_all([recorded.write(tmp_path / name, [document])]))
    return {d.name for d in differences(sides[0], sides[1], allow) if d.refused}


def test_runs_that_inherited_the_same_are_compared(tmp_path: Path) -> None:
    odd = inherited(cpu_quota="0.5 CPUs")
    assert refused(tmp_path, odd, odd) == set()


def test_a_result_from_before_this_was_recorded_is_compared(tmp_path: Path) -> None:
    assert refused(tmp_path, {}, inherited()) == set()


def test_what_a_kernel_does_not_have_is_no_difference(tmp_path: Path) -> None:
    assert refused(tmp_path, inherited(memory_merge=None), inherited(memory_merge=0)) == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [("memory_policy", "bind:1"), ("cpu_quota", "0.5 CPUs"), ("resource_limits", "AS=1000000")],
)
def test_runs_that_inherited_otherwise_are_not_compared(
    tmp_path: Path, name: str, value: str
) -> None:
    sides = (inherited(), inherited(**{name: value}))
    assert refused(tmp_path, *sides) == {f"inherited.{name}"}
    (tmp_path / "allowed").mkdir()
    assert refused(tmp_path / "allowed", *sides, f"inherited.{name}") == set()


CONSTRAINTS = ["CONSTRAINT_MEMORY_POLICY", "CONSTRAINT_CPUSET", "CONSTRAINT_MEMCG"]


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_memory_of_a_part_of_the_machine_is_no_verdict_on_it(tmp_path: Path, name: str) -> None:
    """Not even with the same of another run: how large the part is nobody knows."""
    odd = constraint(name)

    def compared(base: dict[str, Any], new: dict[str, Any], *words: str) -> tuple[int, str]:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        documents = recorded.documents(recorded.BASE)[:12]
        for number, document in enumerate(documents):  # by turns, a boot each
            document["run"].update(
                (base, new)[number % 2],
                boot_id=str(number),
                started_at=f"2026-01-01T00:{number:02}:00Z",
            )
        base_side, new_side = (recorded.write(place / str(n), documents[n::2]) for n in (0, 1))
        result = CliRunner().invoke(
            main, ["compare", *map(str, (base_side, "--vs", new_side)), *words]
        )
        return result.exit_code, " ".join(result.output.split())

    for sides in (({}, odd), (odd, odd)):
        code, told = compared(*sides)
        assert code == 2
        assert (
            f"Cannot tell: the kernel was out of memory for the runs' own processes only ({name})"
            in told
        )
        assert "Run again outside of it" in told
        code, told = compared(*sides, "--allow-difference", "oom_constraint")
        assert "out of memory for the runs'" not in told
    assert "out of memory for the runs'" not in compared({}, {})[1]
    # What takes no memory to its end does not depend on how much there was.
    _, told = compared({}, odd, "--metric", "kernel_page_alloc_latencies_ns:median")
    assert "out of memory for the runs'" not in told


def test_a_kill_without_a_report_is_compared(tmp_path: Path) -> None:
    assert refused(tmp_path, {}, constraint("")) == set()


def test_a_kill_for_want_of_a_part_is_warned_of() -> None:
    assert oom_log.constraint_warnings("CONSTRAINT_NONE") == oom_log.constraint_warnings("") == []
    (warning,) = oom_log.constraint_warnings("CONSTRAINT_MEMORY_POLICY")
    assert "CONSTRAINT_MEMORY_POLICY" in warning
