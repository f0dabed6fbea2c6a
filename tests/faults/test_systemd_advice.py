# SPDX-License-Identifier: GPL-2.0-only
"""What the preflight advises where systemd runs is typed there, and helps.

The systemd is that of a guest root, in namespaces of this machine's: it takes seconds, and no
module is loaded. What would start a run asks the preflight once more instead.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from page_alloc_bench.targets import root
from waiting import PATIENCE_S, in_a_guest

pytestmark = [
    pytest.mark.seconds(6),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces with mounts of images are root's"),
]
BENCH = "/opt/bench.run"
# Process 1 of the namespaces: $1 is a directory, $2 the image, $3 the bundle.
START = """
set -e
cd "$1"
mkdir image changes tree
mount -o loop,ro "$2" image
mount -t tmpfs tmpfs changes
mkdir changes/upper changes/work
mount -t overlay -o lowerdir=image,upperdir=changes/upper,workdir=changes/work overlay tree
install -m 755 "$3" tree/opt/bench.run
cd tree
mount -t proc proc proc
mount -t sysfs sysfs sys
umount -R sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev
mkdir dev/pts dev/shm
for name in null zero full random urandom tty; do
	touch dev/$name
	mount --bind /dev/$name dev/$name
done
mount -t devpts devpts dev/pts
exec chroot . env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
"""


class Systemd:
    """A systemd in namespaces of its own, whose process 1 is pid."""

    def __init__(self, pid: int) -> None:
        self._enter = [
            "nsenter",
            f"--target={pid}",
            *["-m", "-p", "-C", "-u", "-i", "-n", "-r", "-w", "env", "-i"],
        ]

    def run(self, line: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a line of a shell's as root."""
        words = [*self._enter, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", line]
        return subprocess.run(
            words, capture_output=True, text=True, timeout=PATIENCE_S, check=check
        )


@pytest.fixture(scope="module", params=["bookworm-systemd", "trixie-systemd"])
def systemd(
    request: pytest.FixtureRequest, bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Systemd]:
    image = root.image(request.param)
    scratch = tmp_path_factory.mktemp(request.param)
    words = [
        "unshare",
        *["-m", "-p", "-f", "-C", "-u", "-i", "-n", "--kill-child", "--propagation", "private"],
    ]
    words += ["bash", "-c", START, "start", str(scratch), str(image), str(bundle)]
    started = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
        assert in_a_guest(lambda: bool(children.read_text()))
        made = Systemd(int(children.read_text()))
        up = "systemctl is-system-running --wait"
        assert in_a_guest(lambda: made.run(up, check=False).stdout in ("running\n", "degraded\n"))
        made.run("systemctl stop nohang-desktop")
        yield made
    finally:
        started.kill()
        started.wait()


@dataclass(frozen=True)
class State:
    """What is advised about: how root makes it so, and undoes it, and runs a {line} where it is."""

    finding: str
    do: str = "true"
    undo: str = "true"
    within: str = "sh -c {line}"
    options: str = ""


def daemon(unit: str) -> State:
    """Return the state in which a service kills when memory gets short."""
    undo = f"systemctl unmask --runtime {unit}; systemctl stop {unit}"
    return State("oom-daemon", f"systemctl start {unit}", undo)


KILLING = "/run/systemd/logind.conf.d/killing.conf"
KILL = State(
    "kill-user-processes",
    f"mkdir -p {Path(KILLING).parent}; printf '[Login]\\nKillUserProcesses=yes\\n' >{KILLING}; "
    "systemctl restart systemd-logind",
    f"rm {KILLING}; systemctl restart systemd-logind",
    "su -l bench -c {line}",
    "--detach",
)
SERVICE = "systemd-run --pipe --wait --quiet {properties} sh -c {line}"
PLAIN = SERVICE.replace("{properties}", "")
CONTINUE = SERVICE.replace("{properties}", "-p OOMPolicy=continue")
STATES = {
    "nohang": daemon("nohang"),
    "earlyoom by systemd-run": State(
        "oom-daemon", "systemd-run --unit=own earlyoom", "systemctl stop own 2>/dev/null; true"
    ),
    "earlyoom in no service": State(
        "oom-daemon", "setsid earlyoom >/dev/null 2>&1 </dev/null &", "pkill earlyoom; true"
    ),
    "a service": State("oom-policy", within=PLAIN),
    "a service, detached": State("oom-policy", within=PLAIN, options="--detach"),
    "a service that goes on after OOM kills, detached": State(
        "unit-end", within=CONTINUE, options="--detach"
    ),
    "a session that logout kills": KILL,
}


def findings(systemd: Systemd, state: State, line: str) -> dict[str, dict[str, Any]]:
    """What is found before a run that line would start, by name."""
    asked = line.replace(BENCH, f"{BENCH} --preflight")
    done = systemd.run(state.within.format(line=shlex.quote(asked)), check=False)
    assert done.returncode == 3, (done.stdout, done.stderr)  # there is no module for this kernel
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


@pytest.mark.parametrize("name", STATES)
@pytest.mark.attempt(
    "{name}, under systemd", "what is advised helps", "before a run", kernel="the host's"
)
def test_what_is_advised_helps(systemd: Systemd, name: str) -> None:
    state = STATES[name]
    sudo = "sudo " if state is KILL else ""
    line = f"{sudo}{BENCH} --latencies=none {state.options}".rstrip()
    systemd.run(state.do)
    try:
        assert in_a_guest(lambda: state.finding in findings(systemd, state, line))
        finding = findings(systemd, state, line)[state.finding]
        (command,) = finding["commands"]
        assert command in finding["advice"] + finding["line"]
        if BENCH in command:
            assert command.startswith(f"{sudo}systemd-run --scope ")
            assert command.endswith(line.removeprefix(sudo))
        else:
            systemd.run(command)
            assert in_a_guest(lambda: state.finding not in findings(systemd, state, line))
            command = line
        after = findings(systemd, state, command)
        assert not {state.finding, "oom-policy", "unit-end", "kill-user-processes"} & set(after)
        for undo in finding["undo"]:
            systemd.run(undo)
        if finding["undo"]:
            assert in_a_guest(lambda: state.finding in findings(systemd, state, line))
    finally:
        systemd.run(state.undo)


@pytest.mark.attempt(
    "logout, KillUserProcesses=yes",
    "what was started in a scope stays",
    "after a session",
    kernel="the host's",
)
def test_logout_spares_what_is_in_a_scope_of_its_own(systemd: Systemd) -> None:
    systemd.run(KILL.do)
    try:
        line = f"sudo {BENCH} --detach"
        (command,) = findings(systemd, KILL, line)["kill-user-processes"]["commands"]
        for number, start in ((3001, command), (3002, line)):
            sleep = f"sh -c 'setsid sleep {number} >/dev/null 2>&1 </dev/null &'"
            typed = start.replace(f"{BENCH} --detach", sleep) + "; sleep 0.5"
            systemd.run(KILL.within.format(line=shlex.quote(typed)))
        left = "ps -eo args= | grep '^sleep 300'"
        assert in_a_guest(lambda: "3002" not in systemd.run(left, check=False).stdout)
        assert systemd.run(left).stdout == "sleep 3001\n"
    finally:
        systemd.run(f"pkill -f 'sleep 300[12]'; {KILL.undo}", check=False)
