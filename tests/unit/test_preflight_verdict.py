# SPDX-License-Identifier: GPL-2.0-only
"""What is refused, what can be accepted, and what the kernel and its files tell or hide."""

from __future__ import annotations

import dataclasses
import os
import re
import struct
from collections import namedtuple
from pathlib import Path

import pytest

from fake_host import (
    CLOCK,
    CONFIG,
    CPU,
    FILE_CHECKS,
    FOUND,
    GOOD,
    LINKS,
    MOUNTINFO,
    SWAP_FILE,
    look,
    make,
    sysctl,
)
from page_alloc_bench.runner import options
from page_alloc_bench.runner.errors import UsageError
from page_alloc_bench.runner.kernel import cgroup
from page_alloc_bench.runner.preflight import verdict
from page_alloc_bench.runner.preflight.check import NOTE, REFUSE, WARN, Check
from page_alloc_bench.runner.preflight.host import Host, Module, open_log


def test_rights_and_module(tmp_path: Path) -> None:
    assert look(make(tmp_path, {}, euid=1000)) == [("root", REFUSE)]
    module = Module(problem="this host runs 6.1, and the bundle holds 6.2; build one")
    assert look(make(tmp_path / "b", {}, module=module)) == [("module", REFUSE)]


MADE_FOR = {"build_id": None, "version": "#1 SMP Mon", "config": None}


def other_build(host: Host) -> list[tuple[str, str]]:
    """Severity and words of what is found about the build that the module is for."""
    findings = verdict.look(host, FILE_CHECKS)
    return [(each.severity, each.line()) for each in findings if each.name == "other-build"]


def test_a_module_of_another_build_is_refused(tmp_path: Path) -> None:
    module = Module(build=MADE_FOR)
    assert look(make(tmp_path / "same", {}, module=module, version="#1 SMP Mon")) == []
    host = make(tmp_path / "other", {}, module=module, version="#2 SMP Tue")
    assert look(host) == [("other-build", REFUSE)]
    ((_, line),) = other_build(host)
    assert "another build of 6.1: its uname -v is #1 SMP Mon, and this kernel's #2 SMP Tue" in line
    assert "--kdir TREE" in line


def test_the_notes_of_the_kernel_decide_before_its_version(tmp_path: Path) -> None:
    notes = struct.pack("=III", 4, 4, 3) + b"GNU\0" + bytes.fromhex("0123abcd")
    module = Module(build={**MADE_FOR, "build_id": "0123abcd"})
    host = make(tmp_path, {}, module=module, version="#2 SMP Tue")
    (tmp_path / "sys/kernel/notes").write_bytes(notes)
    assert look(host) == []
    (tmp_path / "sys/kernel/notes").write_bytes(notes[:-4] + b"\0\0\0\0")
    ((severity, line),) = other_build(host)
    assert severity == REFUSE
    assert "its build id is 0123abcd, and this kernel's 00000000" in line


def test_a_build_that_is_not_known_is_warned_of(tmp_path: Path) -> None:
    unknown = {"build_id": None, "version": None, "config": None}
    host = make(tmp_path, {}, module=Module(build=unknown))
    ((severity, line),) = other_build(host)
    assert severity == WARN
    assert "perhaps another build of 6.1: it is not known which build that was" in line


def test_headers_of_another_build_are_refused_too(tmp_path: Path) -> None:
    module = Module(build=MADE_FOR, headers="/lib/modules/6.1/build")
    host = make(tmp_path, {}, "--build-on-target", module=module, version="#2 SMP Tue")
    ((severity, line),) = other_build(host)
    assert severity == REFUSE
    assert line.startswith("the tree /lib/modules/6.1/build is another build of 6.1: ")


def test_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    assert look(make(tmp_path, {"dev/kmsg": None})) == [("kernel-log", REFUSE)]


def test_what_stands_in_the_log_s_place_is_told(tmp_path: Path) -> None:
    host = make(tmp_path, {"dev/kmsg": "not a device"}, open_log=open_log)
    (finding,) = verdict.look(host, FILE_CHECKS)
    assert (finding.name, finding.severity) == ("kernel-log", REFUSE)
    assert "it is a regular file, not the kernel's log" in finding.found
    assert "mknod -m 644 /dev/kmsg c 1 11" in finding.advice


PROC = ("buddyinfo", "meminfo", "vmstat", "zoneinfo")
PID_ONLY = MOUNTINFO + "40 1 0:50 / /proc rw,relatime - proc proc rw,subset=pid\n"


@pytest.mark.parametrize(
    ("changes", "said", "command"),
    [
        (
            {**dict.fromkeys(f"proc/{name}" for name in PROC), "proc/self/mountinfo": PID_ONLY},
            "/proc is mounted with subset=pid, which leaves out /proc/buddyinfo",
            "mount -t proc proc /proc",
        ),
        (
            dict.fromkeys(name for name in GOOD if name.startswith("proc/")),
            "/proc is not mounted",
            "mount -t proc proc /proc",
        ),
        (
            {"proc/zoneinfo": None},
            "/proc is masked, or something else is mounted there: no /proc/zoneinfo",
            "mount -t proc proc /proc",
        ),
        (
            dict.fromkeys(name for name in GOOD if name.startswith("sys/")),
            "/sys is not mounted",
            "mount -t sysfs sysfs /sys",
        ),
        (
            {f"{CPU}/online": None},
            "/sys is masked, or something else is mounted there: no /sys/devices/system/cpu/online",
            "mount -t sysfs sysfs /sys",
        ),
    ],
)
def test_proc_and_sys_that_are_not_whole_are_told_for_what_they_are(
    tmp_path: Path, changes: dict[str, str | None], said: str, command: str
) -> None:
    links = dict.fromkeys((name for name in LINKS if said.startswith(f"/{name[:3]}")), None)
    host = make(tmp_path, {**links, **changes} if "not mounted" in said else changes)
    (finding,) = verdict.look(host, FILE_CHECKS)  # and nothing else, which could not be seen
    assert (finding.name, finding.severity) == ("kernel-files", REFUSE)
    assert finding.found == said
    assert finding.commands == (command,)
    assert not finding.acceptable


def test_a_configuration_that_is_not_known(tmp_path: Path) -> None:
    assert look(make(tmp_path, {CONFIG: None})) == [("kernel-config", NOTE)]
    of_the_build = Module(config={"sha256": "0", "options": {"KASAN": "y"}})
    host = make(tmp_path / "b", {CONFIG: None}, module=of_the_build)
    assert look(host) == [("kasan", WARN)]


def test_a_signed_module_may_be_loaded(tmp_path: Path) -> None:
    changes = {
        "sys/kernel/security/lockdown": "none [integrity] confidentiality",
        "sys/module/module/parameters/sig_enforce": "Y",
    }
    found = look(make(tmp_path, changes, module=Module(signed=True)))
    assert set(found) == {("lockdown", NOTE), ("sig-enforce", NOTE)}


def test_nothing_is_claimed_of_a_clock_that_nobody_has_calibrated(tmp_path: Path) -> None:
    """What user space pays for a reading, a system call perhaps, says nothing of the module's."""
    for name in ("tsc", "kvm-clock", "xen", "hyperv_clocksource_tsc_page", "arch_sys_counter"):
        assert look(make(tmp_path / name, {CLOCK: name})) == []
    (finding,) = verdict.look(make(tmp_path / "hpet", {CLOCK: "hpet"}), FILE_CHECKS)
    assert not re.search(r"\d+ ns", finding.line())
    assert "much of each" not in finding.line()
    assert look(make(tmp_path / "none", {CLOCK: "hpet"}, "--latencies none")) == []


def test_room_for_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = namedtuple("disk", "f_blocks f_bfree f_frsize")
    host = make(tmp_path, {}, f"--output-path {tmp_path}/r.json --sample-size 100000")
    assert look(host) == []
    monkeypatch.setattr(os, "statvfs", lambda _path: disk(9000, 1000, 4096))
    assert look(host) == [("output-room", REFUSE)]
    assert look(dataclasses.replace(host, options=options.parse(["--output-path=/dev/null"]))) == []
    monkeypatch.setattr(os, "statvfs", lambda _path: disk(0, 0, 4096))  # /proc: nothing opens there
    assert look(host) == []


def test_a_check_that_fails_is_a_finding(tmp_path: Path) -> None:
    class Broken(Check):
        name = "broken"

        def found(self, _host: Host) -> str | None:
            raise ValueError("what is this?")

    (finding,) = verdict.look(make(tmp_path, {}), [Broken()])
    assert (finding.name, finding.severity) == ("broken", WARN)
    assert "ValueError: what is this?" in finding.found


def test_every_check_has_been_seen_to_find() -> None:
    elsewhere = {
        "zswap", "cpu-affinity", "root", "module", "other-build", "kernel-log", "kernel-config",
        "output-room", "load", "timeout", "capabilities", "inherited",
        "kernel-files", "held-memory",
    }  # fmt: skip
    names = [check.name for check in verdict.CHECKS]
    assert len(set(names)) == len(names)
    assert {name for name, *_ in FOUND} | elsewhere == set(names)


def test_every_check_says_what_it_means_and_how_to_change_it() -> None:
    for check in verdict.CHECKS:
        assert check.severity in (REFUSE, WARN, NOTE), check.name
        assert len(check.meaning) > 15, check.name
        assert len(check.advice) > 5, check.name


def test_the_worst_comes_first_and_refuses(tmp_path: Path) -> None:
    changes = {**sysctl("vm.panic_on_oom", "1"), **SWAP_FILE, **sysctl("kernel.panic", "5")}
    host = make(tmp_path, changes)
    found = verdict.look(host, FILE_CHECKS)
    assert [finding.name for finding in found] == ["panic-on-oom", "swap", "panic-reboot"]
    records = [verdict.as_record(finding, host) for finding in found]
    assert [record["name"] for record in verdict.refused(records)] == ["panic-on-oom"]
    text = verdict.table(records, 10)
    assert "or accept it: --accept panic-on-oom" in text
    assert "sysctl vm.panic_on_oom=0" in text
    assert "7 of 10 checks found nothing" in text
    assert "    sysctl vm.panic_on_oom=0" in text.splitlines()  # to be copied
    assert all(len(line) <= 100 for line in text.splitlines())


def test_what_is_accepted_does_not_refuse(tmp_path: Path) -> None:
    host = make(tmp_path, sysctl("vm.panic_on_oom", "1"), "--accept panic-on-oom,swap")
    records = [verdict.as_record(f, host) for f in verdict.look(host, FILE_CHECKS)]
    assert [record["accepted"] for record in records] == [True]
    assert verdict.refused(records) == []
    assert verdict.table(records, 10).endswith("a run may begin")


def test_accepting_what_there_is_not_is_a_mistake() -> None:
    with pytest.raises(UsageError, match=r"no check is called nonsense\. There are: .*oom-daemon"):
        verdict.examine(options.parse(["--accept", "swap,nonsense"]))
    with pytest.raises(UsageError, match=r"called swop\. Did you mean swap\?"):
        verdict.examine(options.parse(["--accept", "swop"]))
    with pytest.raises(UsageError, match=r"called oom-deamon\. Did you mean oom-daemon\?"):
        verdict.examine(options.parse(["--accept", "oom-deamon"]))


# Without these no run can begin: whoever accepts them gets another refusal, or the kernel's.
NOT_ACCEPTABLE = {
    "root", "module", "modules-disabled", "lockdown", "sig-enforce", "another-copy", "stale-module",
    "kernel-log", "pid-namespace", "user-namespace",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(NOT_ACCEPTABLE))
def test_accepting_what_no_run_can_begin_with_is_a_mistake(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} cannot be accepted"):
        verdict.examine(options.parse(["--accept", name]))


def test_nobody_is_told_to_accept_what_cannot_be_accepted(tmp_path: Path) -> None:
    seen = set()
    for number, (_, severity, changes, arguments) in enumerate(FOUND):
        host = make(tmp_path / str(number), changes, arguments)
        cgroup.own.cache_clear()
        for record in (verdict.as_record(f, host) for f in verdict.look(host, FILE_CHECKS)):
            refuses, possible = severity == REFUSE, record["name"] not in NOT_ACCEPTABLE
            assert record["acceptable"] is possible
            for text in (verdict.refusal(record), verdict.table([record], 2)):
                assert ("--accept" in text) is (possible and refuses) or severity != REFUSE
            seen.add((refuses, possible))
    assert {(True, True), (True, False)} <= seen
