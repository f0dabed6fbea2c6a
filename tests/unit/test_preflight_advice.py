# SPDX-License-Identifier: GPL-2.0-only
"""What the preflight advises fits the host, and a run says what was found."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fake_host import CLOCK, CPU, FILE_CHECKS, FOUND, SWAP_FILE, look, make
from page_alloc_bench.runner import options, session
from page_alloc_bench.runner.errors import HostUnfitError
from page_alloc_bench.runner.kernel import cgroup
from page_alloc_bench.runner.lifetime.signals import Signals
from page_alloc_bench.runner.preflight import load, verdict
from page_alloc_bench.runner.preflight.check import NOTE, REFUSE, WARN
from page_alloc_bench.runner.preflight.host import Host

ESTIMATE = {
    "estimated_s": 40.0,
    "actual_s": None,
    "fills": 20,
    "fill_bytes": 1 << 30,
    "swap_bytes": 0,
    "cold": False,
    "probe": {
        "bytes": 30 << 20,
        "fills": 5,
        "duration_s": 1.0,
        "first_bytes_per_second": 1 << 30,
        "bytes_per_second": 1 << 30,
    },
    "reason": None,
}


# What is advised


def advised(host: Host, name: str) -> tuple[list[str], list[str]]:
    """Return the commands that the finding of that name has, and those that undo them."""
    cgroup.own.cache_clear()
    (found,) = [f for f in verdict.look(host, FILE_CHECKS) if f.name == name]
    record = verdict.as_record(found, host)
    return list(record["commands"]), list(record["undo"])


LIMITED = {"sys/fs/cgroup/user.slice/memory.max": "1073741824\n"}
SERVICE = {"proc/self/cgroup": "0::/system.slice/bench.service\n"}
# systemd as it answers: which units have an OOMPolicy, and what it says of a daemon's.
SYSTEMD = """#!/bin/sh
case "$2 $5" in
"--property=OOMPolicy bench.service") echo stop ;;
"--property=OOMPolicy init.scope") {scopes} ;;
"--property=TriggeredBy "*) echo {triggers} ;;
"--property=UnitFileState "*) echo {state} ;;
esac
"""


def systemd(scopes: str = "echo stop", triggers: str = "", state: str = "enabled") -> str:
    return SYSTEMD.format(scopes=scopes, triggers=triggers, state=state)


def test_a_limit_is_named_and_left_behind_with_the_options_that_were_given(tmp_path: Path) -> None:
    host = make(tmp_path, LIMITED, "--held 3 --spread 2")
    commands, _ = advised(host, "memory-cgroup")
    into = "echo $$ > /sys/fs/cgroup/cgroup.procs && exec"
    assert commands == [f"sh -c '{into} /root/bench.run --held 3 --spread 2'"]
    sudoer = dataclasses.replace(host, by_sudo=True)
    assert advised(sudoer, "memory-cgroup")[0] == [f"sudo {commands[0]}"]
    (found,) = verdict.look(host, FILE_CHECKS)
    assert found.found.startswith(
        "/sys/fs/cgroup/user.slice/memory.max limits this process to 1024"
    )


def test_a_limit_of_all_that_is_to_be_seen_cannot_be_left_behind(tmp_path: Path) -> None:
    host = make(tmp_path, {"sys/fs/cgroup/memory.max": "1073741824\n"})
    assert advised(host, "memory-cgroup") == ([], [])


@pytest.mark.parametrize("version", [1, 2])
def test_nodes_that_no_cgroup_withholds_are_got_by_a_new_login(
    tmp_path: Path, version: int
) -> None:
    """On 6.12 a process keeps the nodes of a limit that its cgroup has no more."""
    top = "sys/fs/cgroup" if version == 2 else "sys/fs/cgroup/cpuset"
    files = ("cgroup.controllers", "cpuset.mems.effective")
    changes = {"proc/self/status": "Mems_allowed_list:\t0\n", f"{top}/{files[0]}": "cpuset\n"}
    if version == 1:
        files = ("", "cpuset.effective_mems")
        changes["proc/self/cgroup"] = "3:cpuset:/user.slice/session-1.scope\n"
        changes["proc/self/mountinfo"] = f"31 1 0:27 / /{top} rw - cgroup cgroup rw,cpuset\n"
    limited = {f"{top}/user.slice/{files[1]}": "0\n", f"{top}/{files[1]}": "0-1\n"}
    lifted = {f"{top}/{files[1]}": "0-1\n"}
    moved, _ = advised(make(tmp_path / "limited", changes | limited), "cpuset")
    assert moved == [f"sh -c 'echo $$ > /{top}/cgroup.procs && exec /root/bench.run'"]
    host = make(tmp_path / "lifted", changes | lifted)
    assert advised(host, "cpuset") == ([], [])
    (found,) = [f for f in verdict.look(host, FILE_CHECKS) if f.name == "cpuset"]
    assert "log in anew" in found.advice


@pytest.mark.parametrize(
    ("scopes", "policy"), [("echo stop", "-p OOMPolicy=continue "), ("true", "")]
)
def test_a_scope_gets_an_oom_policy_where_it_can_have_one(
    tmp_path: Path, scopes: str, policy: str
) -> None:
    changes = {**SERVICE, "usr/bin/systemctl": systemd(scopes)}
    for number, options_ in enumerate(("", "--detach")):
        commands, _ = advised(make(tmp_path / str(number), changes, options_), "oom-policy")
        assert commands == [f"systemd-run --scope {policy}/root/bench.run {options_}".rstrip()]


@pytest.mark.parametrize(
    ("triggers", "state", "commands", "undo"),
    [
        (
            "oomd.socket",
            "disabled",
            ["systemctl mask --runtime --now oomd.socket oomd.service"],
            [
                "systemctl unmask --runtime oomd.socket oomd.service",
                "systemctl start oomd.socket oomd.service",
            ],
        ),
        (
            "",
            "enabled",
            ["systemctl mask --runtime --now oomd.service"],
            ["systemctl unmask --runtime oomd.service", "systemctl start oomd.service"],
        ),
        ("", "transient", ["systemctl stop oomd.service"], []),
    ],
)
def test_a_daemon_is_ended_with_what_would_start_it_again(
    tmp_path: Path, triggers: str, state: str, commands: list[str], undo: list[str]
) -> None:
    daemon = {"proc/77/comm": "systemd-oomd\n", "proc/77/cgroup": "0::/system.slice/oomd.service\n"}
    told = {**daemon, "usr/bin/systemctl": systemd(triggers=triggers, state=state)}
    assert advised(make(tmp_path / "a", told), "oom-daemon") == (commands, undo)
    alone = {**told, "proc/77/cgroup": "0::/user.slice/session-1.scope\n"}
    assert advised(make(tmp_path / "b", alone), "oom-daemon") == (["kill 77"], [])


BY_PARAMETER = [
    "debug-pagealloc", "page-owner", "page-poisoning", "page-table-check", "kmemleak",
    "init-on-free", "init-on-alloc", "slub-debug",
]  # fmt: skip


@pytest.mark.parametrize("name", BY_PARAMETER)
def test_a_boot_parameter_that_is_advised_turns_it_off(tmp_path: Path, name: str) -> None:
    seen = 0
    for number, (found, _, changes, _) in enumerate(FOUND):
        if found != name:
            continue
        (finding,) = verdict.look(make(tmp_path / f"{number}a", changes), FILE_CHECKS)
        word = re.search(r"boot with (\S+=[a-z-]+)", finding.advice)
        assert word, finding.advice
        booted = {**changes, "proc/cmdline": f"{changes.get('proc/cmdline', '')} {word[1]}"}
        assert look(make(tmp_path / f"{number}b", booted)) == []
        seen += 1
    assert seen


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("sysctl vm.panic_on_oom=0", "sudo sysctl vm.panic_on_oom=0"),
        ("echo 0 > /sys/x", "sudo sh -c 'echo 0 > /sys/x'"),
        ("sudo bench.run", "sudo bench.run"),
    ],
)
def test_who_is_root_by_sudo_is_told_to_type_it(tmp_path: Path, line: str, typed: str) -> None:
    host = make(tmp_path, {})
    assert host.as_root(line) == line
    assert dataclasses.replace(host, by_sudo=True).as_root(line) == typed


class Said:
    """A reporter that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, kind: str) -> Any:
        return lambda text: self.lines.append((kind, text))


def test_a_run_says_what_was_found_or_what_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def finding(name: str, severity: str, accepted: bool = False) -> dict[str, Any]:
        return {"name": name, "severity": severity, "accepted": accepted, "line": name.upper()}

    def refusals() -> list[str]:
        return [f["name"] for f in verdict.refused(findings)]

    findings = [
        finding("a", REFUSE),
        finding("b", REFUSE, accepted=True),
        finding("c", REFUSE),
        finding("d", WARN),
        finding("e", NOTE),
    ]
    monkeypatch.setattr(session, "examine", lambda _options: (findings, refusals(), ESTIMATE))
    said = Said()
    with pytest.raises(HostUnfitError, match=r"^c$"):
        session.judge_host(options.parse([]), said, Signals())  # type: ignore[arg-type]
    assert said.lines == [("error", "a")]
    said.lines.clear()
    del findings[2], findings[0]
    told = session.judge_host(options.parse([]), said, Signals())  # type: ignore[arg-type]
    assert told == (findings, ESTIMATE)
    assert said.lines[0] == ("hint", "the run takes about 40 s: 20 fills of 1.00 GiB at 1.00 GiB/s")
    assert said.lines[1:] == [("warning", "B"), ("warning", "D"), ("note", "e: E")]


def test_a_timeout_that_is_too_short_is_told_with_what_it_costs(tmp_path: Path) -> None:
    def probed(*_: Any) -> dict[str, Any]:
        return ESTIMATE

    def found(arguments: str) -> list[str]:
        host = make(tmp_path / arguments.replace(" ", ""), {}, arguments, prober=probed)
        return [f.line() for f in verdict.look(host, FILE_CHECKS) if f.name == "timeout"]

    assert found("--timeout-s 41") == []
    (line,) = found("--timeout-s 20")
    assert "about 40 s, and --timeout-s allows 20 s" in line
    assert "order 4, antagonized" in line
    assert "order 0, idle" not in line


def test_without_a_timeout_no_check_takes_the_time_of_a_probe(tmp_path: Path) -> None:
    def probed(*_: Any) -> dict[str, Any]:
        raise AssertionError("nobody asked")

    assert look(make(tmp_path, {}, prober=probed)) == []


# This very host


def loads() -> list[str]:
    (check,) = load.CHECKS
    return [finding.found for finding in check.look(Host(options.parse([])))]


def test_a_busy_process_is_named() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)
        seen = [loads() for _ in range(3)]
    finally:
        busy.kill()
        busy.wait()
    # Where so many want the CPUs that it gets less than half of one, that is told.
    told = [line for lines in seen for line in lines]
    assert any(f"(PID {busy.pid})" in line or "CPUs together" in line for line in told)


def test_an_idle_process_is_not_named() -> None:
    idle = subprocess.Popen(["sleep", "60"])
    try:
        assert not any(f"(PID {idle.pid})" in line for line in loads())
    finally:
        idle.kill()
        idle.wait()


def test_a_daemon_that_kills_before_the_kernel_does_is_named(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep
    shutil.copy(sleep, tmp_path / "earlyoom")
    daemon = subprocess.Popen([tmp_path / "earlyoom", "60"])
    try:
        time.sleep(0.1)
        found = [f.line() for f in verdict.look(Host(options.parse([]))) if f.name == "oom-daemon"]
    finally:
        daemon.kill()
        daemon.wait()
    assert any(
        f"earlyoom is running (PID {daemon.pid})" in line and f"kill {daemon.pid}" in line
        for line in found
    )


@pytest.mark.parametrize("width", [40, 55, 66, 80])
def test_the_table_fits_the_terminal_and_cuts_no_word(tmp_path: Path, width: int) -> None:
    changes = {CLOCK: "hpet", **SWAP_FILE, f"{CPU}/isolated": "2-3"}
    host = make(tmp_path, changes, "--cpus 0,1")
    records = [
        {**vars(finding), "accepted": False, "line": finding.line()}
        for finding in verdict.look(host, FILE_CHECKS)
    ]
    assert len(records) >= 3
    text = verdict.table(records, 50, width)
    longest = max((len(word) for word in text.split()), default=0)
    assert max(map(len, text.splitlines())) <= max(width, longest + 6)
    told = " ".join(text.split())
    for record in records:
        for part in ("name", "found", "meaning", "advice"):
            assert record[part] in told
