# SPDX-License-Identifier: GPL-2.0-only
"""Hosts with systemd: what the preflight advises helps, and runs outlive what they should."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults import systemd_host
from faults.advised import BENCH, SMALL, STATES, State
from faults.systemd_host import Host
from waiting import PATIENCE_S, in_a_guest

pytestmark = pytest.mark.seconds(35)
NODE = "/dev/page_alloc_bench"
ENDLESS = SMALL.replace("--iterations=1", "--iterations=1000")
KILLING = "/run/systemd/logind.conf.d/killing.conf"


host = systemd_host.host


def preflight(host: Host, line: str, state: State) -> dict[str, dict[str, Any]]:
    """What is found before a run that line would start, by name."""
    done = host.type(state.shell(line.replace(BENCH, f"{BENCH} --preflight")))
    assert done.returncode in (0, 3), done.stderr
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


@contextmanager
def so(host: Host, state: State) -> Iterator[None]:
    try:
        host.guest.run(f"set -e; {state.do}")
        yield
    finally:
        host.guest.run(state.undo, check=False)


@pytest.mark.parametrize("name", STATES)
@pytest.mark.attempt(
    "{name}, under systemd",
    "what is advised leads to a whole run",
    "before a run",
    kernel="{host[1]}",
)
def test_advice_that_is_followed_leads_to_a_run(host: Host, name: str) -> None:
    state = STATES[name]
    if state.user not in (None, host.user):
        pytest.skip(f"only {state.user} gets there")
    sudo = "" if state.finding == "root" else host.sudo
    line = f"{sudo}{BENCH} {state.options}"
    with so(host, state):
        finding = preflight(host, line, state)[state.finding]
        assert (finding["severity"], bool(finding["commands"])) == (state.severity, True), finding
        if state.severity == "refuse":
            refused = host.type(state.shell(line))
            assert (refused.returncode, refused.stdout) == (3, "")
            assert state.finding == "root" or all(
                command in refused.stderr for command in finding["commands"]
            )
        result = follow(host, line, state, finding["commands"])
        assert result["run"]["complete"] is True
        assert state.finding not in [found["name"] for found in result["run"]["preflight"]]
        for command in finding["undo"]:
            done = host.type(state.shell(command))
            assert done.returncode == 0, done.stderr
        assert not finding["undo"] or state.finding in preflight(host, line, state)


def follow(host: Host, line: str, state: State, commands: list[str]) -> dict[str, Any]:
    """Type what is advised, and start the run again unless that was it; return the result."""
    for command in commands:
        done = host.type(state.shell(command))
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    if BENCH not in commands[-1]:
        done = host.type(state.shell(line))
        assert done.returncode == 0, done.stderr
    if "--detach" in line:
        done = host.type(f"{host.sudo}{BENCH} --attach")
        assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_daemon_that_was_masked_stays_away_and_comes_back_when_it_is_undone(host: Host) -> None:
    """Its socket, D-Bus and logind bring systemd-oomd back where it is merely stopped."""
    state = STATES["systemd-oomd"]
    line = f"{host.sudo}{BENCH} {SMALL}"
    active = "systemctl is-active systemd-oomd.service systemd-oomd.socket"
    with so(host, state):
        assert host.guest.run(active, check=False).stdout.split() == ["active"] * 2
        finding = preflight(host, line, state)["oom-daemon"]
        (command,) = finding["commands"]
        host.type(command, check=True)
        host.guest.run("systemctl restart systemd-logind dbus; "
                       "busctl call org.freedesktop.oom1 /org/freedesktop/oom1 "
                       "org.freedesktop.DBus.Peer Ping; sleep 2", check=False)  # fmt: skip
        assert "active" not in host.guest.run(active, check=False).stdout.split()
        assert "oom-daemon" not in preflight(host, line, state)
        for undo in finding["undo"]:
            host.type(undo, check=True)
        assert host.guest.run(active, check=False).stdout.split() == ["active"] * 2


def test_a_command_stands_whole_on_a_line_of_its_own(host: Host) -> None:
    with so(host, STATES["MemoryMax of user.slice"]):
        words = f"{host.sudo}{BENCH} --preflight {SMALL}"
        shown = host.type(f"script -qec '{words}' /dev/null").stdout.replace("\r", "")
    (command,) = [text.strip() for text in shown.splitlines() if "cgroup.procs" in text]
    assert command == (
        f"{host.sudo}sh -c 'echo $$ > /sys/fs/cgroup/cgroup.procs && exec {BENCH} {SMALL}'"
    )
    told = " ".join(shown.split())
    assert "/sys/fs/cgroup/user.slice/memory.max limits this process to 300 MiB" in told


def test_another_run_is_ended_by_what_is_advised(host: Host) -> None:
    line = f"{host.sudo}{BENCH} --detach {ENDLESS}"
    assert host.type(line).returncode == 0
    finding = preflight(host, f"{host.sudo}{BENCH} {SMALL}", State("another-copy"))["another-copy"]
    host.type(finding["commands"][0], check=True)
    assert host.type(f"{host.sudo}{BENCH} --attach >/dev/null").returncode == 143
    assert host.type(f"{host.sudo}{BENCH} {SMALL}").returncode == 0


@pytest.mark.parametrize(
    ("state", "refused", "instead"),
    [
        (State("antagonist-size"), "--held=90000 --spread=10", "--held=50 --spread=10"),
        (State("antagonist-size"), "--sample-size=4194304", "--sample-size=100"),
        (State("output-room", "mount -t tmpfs -o size=1m none /mnt", "umount /mnt"),
         "--output-path=/mnt/r.json", "--output-path=-"),
        (STATES["swap file"], "", "--no-swap"),
    ],
)  # fmt: skip
def test_advice_about_options_is_true(host: Host, state: State, refused: str, instead: str) -> None:
    finding = state.finding
    line = f"{host.sudo}{BENCH} {SMALL} "
    with so(host, state):
        told = preflight(host, line + refused, state)[finding]
        assert not refused or host.type(line + refused).returncode == 3
        assert "--" + instead.split("=", maxsplit=1)[0].lstrip("-") in told["advice"]
        done = host.type(line + instead)
    assert done.returncode == 0, done.stderr
    found = {f["name"]: f["severity"] for f in json.loads(done.stdout)["run"]["preflight"]}
    assert found.get(finding, "note") == "note"


def test_who_uses_the_module_is_named_by_what_is_advised(host: Host) -> None:
    host.guest.run("insmod /opt/page_alloc_bench.ko")
    holder = host.guest.popen(f"echo $$ > /run/holder; exec sleep 600 3<>{NODE}")
    try:
        assert in_a_guest(lambda: "page_alloc_bench 20480 1" in host.guest.run(
            "awk '{print $1, 20480, $3}' /proc/modules").stdout)  # fmt: skip
        done = host.type(f"{host.sudo}{BENCH} {SMALL}")
        assert done.returncode == 3
        assert "--accept" not in done.stderr
        ask = re.search(rf"fuser {NODE}", done.stderr)
        assert ask
        pid = host.guest.run("cat /run/holder").stdout.strip()
        assert host.type(f"{host.sudo}{ask[0]}").stdout.split() == [pid]
    finally:
        host.guest.run("kill $(cat /run/holder); rm /run/holder")
        holder.wait(PATIENCE_S)
    assert host.type(f"{host.sudo}{BENCH} {SMALL}").returncode == 0


@pytest.mark.parametrize("name", ["root", "module", "kernel-log", "pid-namespace"])
def test_what_cannot_be_accepted_is_said_to_be_so(host: Host, name: str) -> None:
    done = host.type(f"{host.sudo}{BENCH} {SMALL} --accept {name}")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--accept: {name} cannot be accepted" in done.stderr


# Login sessions


def connect(host: Host, line: str, user: str = "bench") -> subprocess.CompletedProcess[str]:
    """Run a line in a login session of its own, which has ended when this returns."""
    ssh, *options = host.guest.ssh_options("ssh", user)
    return subprocess.run(
        [ssh, "-S", "none", "-T", *options, "guest", f"cat /proc/self/cgroup; {line}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def session_is_over(host: Host, done: subprocess.CompletedProcess[str]) -> str:
    """Wait for logind to have ended the session that a line ran in; return its number."""
    found = re.match(r"0::/user\.slice/user-\d+\.slice/session-(\w+)\.scope", done.stdout)
    assert found, done.stdout
    gone = f"systemctl is-active session-{found[1]}.scope"
    assert in_a_guest(lambda: host.guest.run(gone, check=False).returncode != 0)
    return found[1]


def status(host: Host) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(host.guest.run([BENCH, "--status"], check=False).stdout)
    return told


@contextmanager
def killing_user_processes(host: Host, answer: str) -> Iterator[None]:
    setting = f"[Login]\\nKillUserProcesses={answer}\\n"
    try:
        host.guest.run(f"mkdir -p {Path(KILLING).parent}; printf '{setting}' > {KILLING}; "
                       "systemctl restart systemd-logind")  # fmt: skip
        yield
    finally:
        host.guest.run(f"rm {KILLING}; systemctl restart systemd-logind")
        host.guest.run(f"{BENCH} --stop; {BENCH} --attach >/dev/null", check=False)


def ends_well(host: Host) -> None:
    done = host.guest.run([BENCH, "--attach"], check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"]["complete"] is True


@pytest.mark.attempt("logout, KillUserProcesses=no", "a detached run goes on", "a whole run",
                     kernel="{host[1]}")  # fmt: skip
def test_a_detached_run_outlives_its_session(host: Host) -> None:
    with killing_user_processes(host, "no"):
        done = connect(host, f"sudo {BENCH} --detach {SMALL.replace('=1 ', '=2 ', 1)}")
        assert done.returncode == 0, done.stderr
        session_is_over(host, done)
        assert status(host)["state"] in ("running", "ended")
        ends_well(host)


@pytest.mark.attempt("logout, KillUserProcesses=yes", "refused before; in a scope it goes on",
                     "a whole run", kernel="{host[1]}")  # fmt: skip
def test_where_logout_kills_the_advice_saves_the_run(host: Host) -> None:
    with killing_user_processes(host, "yes"):
        line = f"sudo {BENCH} --detach {SMALL.replace('=1 ', '=2 ', 1)}"
        refused = connect(host, line)
        assert refused.returncode == 3
        assert "KillUserProcesses is on for the login session of bench" in refused.stderr
        advised = re.search(
            rf"sudo systemd-run --scope .*{BENCH}.*?(?=; or accept)", refused.stderr
        )
        assert advised, refused.stderr
        done = connect(host, advised[0])
        assert done.returncode == 0, done.stderr
        session_is_over(host, done)
        assert status(host)["state"] in ("running", "ended")
        ends_well(host)


@pytest.mark.attempt("logout, KillUserProcesses=yes, accepted", "killed; nothing left",
                     "a whole run", kernel="{host[1]}")  # fmt: skip
def test_what_is_warned_of_is_so(host: Host) -> None:
    with killing_user_processes(host, "yes"):
        done = connect(host, f"sudo {BENCH} --detach --accept kill-user-processes {ENDLESS}")
        assert done.returncode == 0, done.stderr
        session_is_over(host, done)
        assert in_a_guest(lambda: bool(status(host)["state"] != "running"))
        assert in_a_guest(lambda: bool(status(host)["host_is_clean"]))
        # systemd ends it by SIGTERM first, to which it answers as to any.
        assert (status(host)["state"], status(host)["exit_code"]) in [
            ("ended", 143), ("ended", 129), ("killed", 137),
        ]  # fmt: skip
        assert host.guest.run("grep page_alloc /proc/modules", check=False).stdout == ""


@pytest.mark.attempt("session's scope stopped", "ends; nothing left", "idle, order 0",
                     kernel="{host[1]}")  # fmt: skip
def test_the_end_of_its_session_leaves_a_clean_host(host: Host) -> None:
    """An ordinary run, not detached: `loginctl terminate-session`, as an administrator does."""
    ssh, *options = host.guest.ssh_options("ssh", "bench")
    line = f"cat /proc/self/cgroup; exec sudo {BENCH} {ENDLESS} --output-path /run/result.json"
    words = [ssh, "-S", "none", "-T", *options, "guest", line]
    running = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert running.stdout
    found = re.search(r"session-(\w+)\.scope", running.stdout.readline())
    assert found
    assert in_a_guest(lambda: "page_alloc" in host.guest.run("cat /proc/modules").stdout)
    host.guest.run(["loginctl", "terminate-session", found[1]])
    running.communicate(timeout=PATIENCE_S)
    assert in_a_guest(lambda: "page_alloc" not in host.guest.run("cat /proc/modules").stdout)
    assert in_a_guest(lambda: status(host)["state"] == "none")
    assert host.guest.run("ls -d /dev/shm/p* /dev/page_alloc_bench", check=False).stdout == ""
    host.guest.run("rm -f /run/result.json")


# What a session keeps of a limit


def test_a_limit_that_was_lifted_is_left_behind_by_a_new_login(host: Host) -> None:
    """On 6.12 processes stay on the nodes that they had, also in the topmost cgroup."""
    to_set = "systemctl set-property --runtime user.slice AllowedMemoryNodes="
    line = f"{host.sudo}{BENCH} {SMALL}"
    host.type("true", check=True)  # or else there is no session yet that was limited
    host.guest.run(f"{to_set}0; {to_set}")
    try:
        found = preflight(host, line, State("cpuset")).get("cpuset")
        done = connect(host, line, host.user)
    finally:
        host.guest.run(f"{to_set}0-1; {to_set}")
    stays = host.guest.kernel.release.startswith("6.12.")
    anew = "log in anew, not by an ssh connection that is shared"
    assert (found["advice"] if found else "") == (anew if stays else "")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.partition("\n")[2])["run"]["complete"] is True
