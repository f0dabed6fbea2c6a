# SPDX-License-Identifier: GPL-2.0-only
"""`fleet ab` with restarts that are real: two guests, two kernels, kexec, and power that goes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import kexec_host
import restarting
import waiting
from kexec_host import KexecHost
from page_alloc_bench.targets import qmp

# Twenty restarts of emulated machines, two at a time: that is what a cross-over of two hosts is.
pytestmark = pytest.mark.seconds(1500)

NAMES = ("stays", "dark")
BOOTS = 4
# Longer than a restart takes on a busy machine, and so long is a dark host waited for.
BACK = "6m"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, KexecHost]]:
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(
                kexec_host.kexec_host(tmp_path_factory.mktemp(name), name=name)
            )
            for name in NAMES
        }


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return restarting.make_bundles(tmp_path_factory.mktemp("bundles"), kexec_host.KERNELS)


class Crossover:
    """The command for guests that play hosts. place: a directory of its own."""

    def __init__(self, place: Path, hosts: Mapping[str, KexecHost], bundles: Path) -> None:
        self._place, self.dir = place, place / "fleet-ab"
        lines = [
            f'{name} ansible_ssh_common_args="-F {host.config}"' for name, host in hosts.items()
        ]
        (place / "hosts.ini").write_text("\n".join(lines) + "\n")
        a_host = next(iter(hosts.values()))
        self._command = [
            sys.executable, "-m", "page_alloc_bench.cli", "fleet", "ab", str(place / "hosts.ini"),
            "--bundles", str(bundles), "--base", a_host.old, "--new", a_host.new,
            "--back-within", BACK, "--dir", str(self.dir), "--accept", "load", "--seed", "1",
            "--metric", restarting.METRIC, "--allow-difference", "debug.KFENCE", "--yes",
            "--", *restarting.RUN,
        ]  # fmt: skip

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd=self._place,
        )  # fmt: skip

    def ends(self, name: str) -> list[tuple[str, str]]:
        """What came of each boot of a host, with its side."""
        path = self.dir / "hosts" / name
        return restarting.ends(path) if (path / "attempts.jsonl").exists() else []

    def order(self, name: str) -> list[str]:
        path = self.dir / "hosts" / name / "plan.json"
        order: list[str] = json.loads(path.read_text())["schedule"] if path.exists() else []
        return order


def is_at_a_late_boot_of_base(crossover: Crossover, name: str) -> bool:
    """Whether a host has measured both kernels and is in one of its last boots of base."""
    made, order = crossover.ends(name), crossover.order(name)
    return len(made) > BOOTS and order[len(made)] == "base"


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that ends by itself."""
    try:
        out, err = process.communicate(timeout=3600)
    finally:
        process.kill()
        process.communicate()
    print(out, err)
    return process.returncode, out, err


def of_host(host: KexecHost) -> tuple[str, str]:
    """Which kernel a host runs, and all that decides which it boots."""
    return restarting.shell(host, "uname -r").strip(), restarting.shell(host, restarting.STATE)


def monitor(host: KexecHost) -> Path:
    assert host.guest.scratch is not None
    return host.guest.scratch


def test_hosts_are_restarted_and_one_that_loses_its_power_is_left_out_until_it_is_back(
    bundles: Path, hosts: dict[str, KexecHost], tmp_path: Path
) -> None:
    boots = {name: restarting.shell(host, restarting.BOOT) for name, host in hosts.items()}
    before = {name: of_host(host) for name, host in hosts.items()}
    crossover = Crossover(tmp_path, hosts, bundles)
    process = crossover.start()
    try:
        assert waiting.in_a_guest(lambda: is_at_a_late_boot_of_base(crossover, "dark"), 3600)
        qmp.ask(monitor(hosts["dark"]), "stop")
    except BaseException:
        process.kill()
        raise
    code, out, err = ended(process)

    # The others have their verdict, which says what it lacks.
    assert code == 2, err
    assert "base 1 host (4 runs), new 1 host (4 runs)" in out
    assert "Cannot tell: 1 host is too few for an interval (one figure needs 6)." in out
    (left_out,) = out.partition("Hosts that are left out:\n")[2].splitlines()
    assert left_out.split()[:2] == ["dark", "failed"]
    assert "it does not answer" in left_out
    assert crossover.ends("stays") == [(side, "ok") for side in crossover.order("stays")]
    assert len(crossover.order("stays")) == 2 * BOOTS

    # The power is back, and the same command goes on where it was.
    qmp.ask(monitor(hosts["dark"]), "system_reset")
    qmp.ask(monitor(hosts["dark"]), "cont")
    assert waiting.in_a_guest(lambda: restarting.answers(hosts["dark"], hosts["dark"].old))
    made = {name: crossover.ends(name) for name in NAMES}
    code, out, err = ended(crossover.start())
    assert code == 2, err
    assert "base 2 hosts (8 runs), new 2 hosts (8 runs)" in out
    assert "left out" not in out
    assert crossover.ends("dark")[: len(made["dark"])] == made["dark"]
    assert crossover.ends("stays") == made["stays"]
    for name, host in hosts.items():
        assert of_host(host) == before[name]
        assert restarting.shell(host, restarting.BOOT) != boots[name]
    assert crossover.order("stays") != crossover.order("dark")
