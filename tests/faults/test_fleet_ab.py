# SPDX-License-Identifier: GPL-2.0-only
"""Two kernels on many hosts: real sshds and a real `ab --host` for each; restarts are pretended."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import crossed_hosts
from bundle_maker import make_bundle
from crossed_hosts import NEW, OLD
from sshd_hosts import SshHost, free_port, make_keys
from waiting import eventually

pytestmark = [
    pytest.mark.seconds(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces with sshds need root"),
]
NAMES = ("a", "b", "c", "d", "e", "f", "fails", "dark")
BOOTS = 4


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[dict[str, SshHost]]:
    """All hosts but the one that is dark."""
    keys = make_keys(tmp_path / "keys")
    started: dict[str, SshHost] = {}
    try:
        for name in NAMES[:-1]:
            started[name] = crossed_hosts.start(name, tmp_path / "hosts", keys)
        yield started
    finally:
        for host in started.values():
            host.end()


class Crossover:
    """The command for some hosts. ports: by name."""

    def __init__(self, place: Path, ports: dict[str, int]) -> None:
        self.place, self.dir = place, place / "fleet-ab"
        self.inventory(ports)
        hook = [sys.executable, crossed_hosts.__file__, str(place / "hosts")]
        runner = crossed_hosts.RUNNER.replace("HOSTS", str(place / "hosts"))
        (place / "bundles").mkdir()
        for release in (OLD, NEW):
            make_bundle(place / f"bundles/{release}.run", runner, release=release)
        self.command = [
            sys.executable, "-m", "page_alloc_bench.cli", "fleet", "ab", str(place / "hosts.ini"),
            "--bundles", str(place / "bundles"), "--base", OLD, "--new", NEW,
            "--boot", "hook", "--boot-hook", shlex.join(hook), "--back-within", "60s",
            "--dir", str(self.dir), "--accept", "load", "--accept", "users", "--seed", "1",
            "--metric", "idle_available_bytes_order0", "--yes",
        ]  # fmt: skip

    def inventory(self, ports: dict[str, int]) -> None:
        lines = [f"{name} ansible_port={port}" for name, port in ports.items()]
        lines += [
            "[all:vars]", "ansible_host=127.0.0.1", "ansible_user=root",
            f"ansible_ssh_private_key_file={self.place}/keys/user",
            "ansible_ssh_common_args=-F none -o UserKnownHostsFile=/dev/null "
            "-o StrictHostKeyChecking=no -o LogLevel=ERROR",
        ]  # fmt: skip
        (self.place / "hosts.ini").write_text("\n".join(lines) + "\n")

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, cwd=self.place,
        )  # fmt: skip

    def run(self) -> tuple[int, str, str]:
        process = self.start()
        out, err = process.communicate(timeout=1500)
        return process.returncode, out, err

    def attempts(self, host: str) -> list[dict[str, str]]:
        path = self.dir / f"hosts/{host}/attempts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def boots(self, host: str) -> list[str]:
        return (self.place / f"hosts/{host}/boots").read_text().splitlines()


def test_each_host_is_compared_with_itself_and_all_decide(
    hosts: dict[str, SshHost], tmp_path: Path
) -> None:
    (hosts["fails"].top / "new-fails").touch()
    ports = {name: host.port for name, host in hosts.items()}
    crossover = Crossover(tmp_path, {**ports, "dark": free_port()})

    process = crossover.start()
    assert eventually(lambda: len(crossover.attempts("a")) >= 2, 600)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    code, out, err = crossover.run()
    assert code == 1, (out, err)
    assert "base 6 hosts (24 runs), new 6 hosts (24 runs)" in out
    left_out = {line.split()[0]: line.split()[1] for line in out.splitlines()[-2:]}
    assert left_out == {"dark": "failed", "fails": "new-fails"}
    assert "made up to fail" in out.splitlines()[-1]
    for name in NAMES[:6]:
        made = Counter((each["side"], each["end"]) for each in crossover.attempts(name))
        assert made == {("base", "ok"): BOOTS, ("new", "ok"): BOOTS}, name
        assert crossover.boots(name)[-1] == OLD
    verdict = json.loads((crossover.dir / "verdict.json").read_text())
    (row,) = verdict["rows"]
    assert row["change_percent"] == pytest.approx(-5, abs=0.5)
    firsts = {name: crossover.attempts(name)[0]["side"] for name in NAMES[:6]}
    assert set(firsts.values()) == {"base", "new"}

    # What is known of a host stays; one that was dark is tried again.
    before = {name: crossover.boots(name) for name in NAMES[:6]}
    dark = crossed_hosts.start("dark", tmp_path / "hosts", tmp_path / "keys")
    hosts["dark"] = dark
    crossover.inventory({**ports, "dark": dark.port})
    code, out, err = crossover.run()
    assert code == 1, (out, err)
    assert "base 7 hosts (28 runs), new 7 hosts (28 runs)" in out
    assert {name: crossover.boots(name) for name in NAMES[:6]} == before


def test_a_kernel_that_fails_on_one_host_is_not_no_regression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = make_keys(tmp_path / "keys")
    host = crossed_hosts.start("fails", tmp_path / "hosts", keys)
    try:
        (host.top / "new-fails").touch()
        code, out, err = Crossover(tmp_path, {"fails": host.port}).run()
    finally:
        host.end()
    assert code == 4, (out, err)
    assert "No host has measured both kernels." in out
    assert "new-fails" in out
