# SPDX-License-Identifier: GPL-2.0-only
"""A run says beforehand how long it takes, and is right within a factor; it keeps what it found.

Two CPUs: in a guest of 1 GiB the antagonist of more could exhaust memory at order 4.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import by_schema
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S, in_a_guest

pytestmark = pytest.mark.seconds(300)
BUNDLE = "/home/bench/bench.run"
FACTOR = 1.5
CELLS = [(iterations, order) for iterations in (1, 5) for order in (0, 4)]


def measure(guest: Guest, options: str) -> dict[str, Any]:
    done = guest.run(f"{BUNDLE} {options}", timeout=PATIENCE_S)
    read: dict[str, Any] = json.loads(done.stdout)
    by_schema.hold(read)
    told: dict[str, Any] = read["run"]["estimate"]
    assert re.search(r"page-alloc-bench: the run takes about \d+ ", done.stderr)
    assert re.search(r"page-alloc-bench: measuring took \d+ ", done.stderr)
    return told


def assert_right(told: dict[str, Any], memory: str) -> None:
    assert told["probe"]["duration_s"] <= 2, told
    assert told["probe"]["bytes"] <= 0.03 * told["fill_bytes"], told
    off = told["actual_s"] / told["estimated_s"]
    assert 1 / FACTOR <= off <= FACTOR, (memory, told)


@pytest.mark.parametrize("memory", ["1G", "2G", "4G"])
def test_the_estimate_is_right_within_a_factor(bundle: Path, memory: str) -> None:
    """The first run of a boot finds memory that nobody has touched."""
    with Guest("6.1", cpus=2, nodes=2, memory=memory) as guest:
        guest.copy_to(bundle, BUNDLE)
        for iterations, order in CELLS:
            told = measure(guest, f"--iterations {iterations} --alloc-orders {order}")
            assert told["fills"] == 2 * iterations
            assert_right(told, memory)


@pytest.mark.parametrize(("kernel", "options"), [("6.12", ""), ("6.1", "--thp never")])
def test_so_it_is_on_another_kernel_and_without_huge_pages(
    kernel: str, options: str, tmp_path: Path
) -> None:
    made = tmp_path / "bench.run"
    build(BuildRequest(kdir=kernels.fetch(kernel).kdir, output=made), progress=lambda _: None)
    with Guest(kernel, cpus=2, nodes=2, memory="1G") as guest:
        guest.copy_to(made, BUNDLE)
        assert_right(measure(guest, f"--iterations 2 {options}"), "1G")


@pytest.fixture(scope="module")
def small(bundle: Path) -> Any:
    with Guest("6.1", cpus=2, nodes=2, memory="1G") as guest:
        guest.copy_to(bundle, BUNDLE)
        guest.run([BUNDLE, "--quiet", "--iterations=1", "--alloc-orders=0"])
        yield guest


def test_the_probe_leaves_what_is_measured_as_it_was(small: Guest) -> None:
    """--preflight is the probe without a run: idle figures before and after it are the same."""
    figures = []
    for _ in range(2):
        done = small.run(f"{BUNDLE} --iterations 3 --alloc-orders 0 --held 10 --spread 10")
        figures.append(json.loads(done.stdout)["idle_available_bytes_order0"])
        told = json.loads(small.run([BUNDLE, "--preflight"]).stdout)
        assert told["estimate"]["estimated_s"] > 0
    first, second = (statistics.median(values) for values in figures)
    assert second == pytest.approx(first, rel=0.02), figures


def on_terminal(guest: Guest, command: str, seconds: float = 300) -> str:
    """Run a command with a terminal of 80 columns; return what it showed."""
    ssh, *options = guest.ssh_options("ssh", "root")
    leader, follower = pty.openpty()
    words = [ssh, "-S", "none", "-tt", *options, "guest", f"stty cols 80; {command}"]
    process = subprocess.Popen(words, stdin=follower, stdout=follower, stderr=follower)
    shown, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        over = process.poll() is not None
        while select.select([leader], [], [], 0.2)[0]:
            shown += os.read(leader, 1 << 16)
        if over:
            break
    os.close(follower)
    assert process.wait(1) == 0, shown
    os.close(leader)
    return shown.decode()


def test_a_run_on_a_terminal_keeps_its_result_and_shows_what_is_left(small: Guest) -> None:
    small.run("rm -rf /root/kept && mkdir /root/kept")
    options = "--iterations 1 --alloc-orders 0"
    shown = on_terminal(small, f"cd /root/kept && {BUNDLE} {options}")
    (name,) = small.run("ls -A /root/kept").stdout.split()
    assert re.fullmatch(rf"page-alloc-bench-{re.escape(small.kernel.release)}-\d+T\d+\.json", name)
    assert shown.count(name) == 2  # at the start and at the end
    assert '"run"' not in shown
    read = json.loads(small.run(f"cat /root/kept/{name}").stdout)
    assert read["run"]["complete"] is True
    assert small.run(f"stat -c %a /root/kept/{name}").stdout.strip() == "644"
    drawn = [line for line in re.split(r"\r\x1b\[K|\r?\n", shown) if " of 6: " in line]
    assert any(re.search(r"idle, iteration 1 of 1: \d+%, .* left", line) for line in drawn), drawn
    assert max(map(len, drawn)) < 80
    shown = on_terminal(small, f"cd /root/kept && {BUNDLE} {options} --output-path none")
    assert small.run("ls -A /root/kept").stdout.split() == [name]


def test_status_tells_how_far_an_ordinary_run_is(small: Guest) -> None:
    small.run(f"cd /; {BUNDLE} --iterations 9 --alloc-orders 0 >/dev/null 2>&1 </dev/null &")
    told: dict[str, Any] = {}

    def has_begun() -> bool:
        told.update(json.loads(small.run([BUNDLE, "--status"], check=False).stdout))
        return bool(told.get("filled"))

    assert in_a_guest(has_begun)
    assert (told["state"], told["detached"], told["phase"]) == ("running", False, "order 0, idle")
    assert (told["phase_number"], told["phases"]) == (2, 6)
    assert 0 < told["filled"] <= 1
    assert told["left_s"] > 0
    stranger = small.run([BUNDLE, "--status"], user="bench", check=False)
    assert stranger.returncode == 3
    seen = small.run(f"ls -l /proc/{told['pid']}/fd 2>&1 || true", user="bench").stdout
    assert "memfd" not in seen
    small.run([BUNDLE, "--stop"])
    told = json.loads(small.run([BUNDLE, "--status"], check=False).stdout)
    assert (told["state"], told["host_is_clean"]) == ("none", True)
