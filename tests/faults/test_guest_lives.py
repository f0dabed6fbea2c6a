# SPDX-License-Identifier: GPL-2.0-only
"""A guest that ends as nobody wished leaves nothing and says why; counted time repeats."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lives import await_gone, processes_naming
from page_alloc_bench.targets.guest import Guest
from page_alloc_bench.targets.process import TargetError

OWNER = """
import sys
from page_alloc_bench.targets.guest import Guest
with Guest(cpus=1, nodes=1, memory="512M") as guest:
    guest.run("true", user="bench")
    print(guest.scratch, flush=True)
    sys.stdin.read()
"""


def test_nothing_outlives_an_owner_that_is_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    scratch = Path(owner.stdout.readline().strip())
    assert scratch.is_dir()
    assert any("qemu-system" in line for line in processes_naming(str(scratch)))
    owner.kill()
    owner.communicate()
    assert await_gone(str(scratch)) == []
    assert not scratch.exists()


def test_a_killed_keeper_takes_qemu_along() -> None:
    with Guest(cpus=1, nodes=1, memory="512M") as guest:
        assert guest.scratch is not None
        qemu = int((guest.scratch / "pid").read_text())
        psutil.Process(qemu).parent().kill()  # type: ignore[union-attr]
        end = time.monotonic() + 10
        while psutil.pid_exists(qemu) and time.monotonic() < end:
            time.sleep(0.05)
        assert not psutil.pid_exists(qemu)
        with pytest.raises(TargetError, match="keeper was killed"):
            guest.run("true")


def test_a_panic_is_quoted() -> None:
    with Guest(cpus=1, nodes=1, memory="512M") as guest:
        with pytest.raises(TargetError, match=r"panicked: .*sysrq triggered crash"):
            guest.run("echo c >/proc/sysrq-trigger; sleep 60")
        assert "sysrq triggered crash" in guest.console()


def test_a_boot_that_fails_says_why_and_leaves_nothing() -> None:
    guest = Guest(cpus=1, nodes=1, memory="512M", cmdline_extra="rdinit=/nowhere init=/nowhere")
    with pytest.raises(TargetError, match=r"(?s)panicked.*its console ends"), guest:
        pass
    assert guest.scratch is None
    assert not guest.alive()


# The shortest of many rounds, each much shorter than a tick: one that no interrupt fell into.
ROUNDS = """
import time
def spin():
    started = time.monotonic_ns()
    for _ in range(200):
        pass
    return time.monotonic_ns() - started
print(min(spin() for _ in range(20000)))
"""


def test_instruction_counting_repeats() -> None:
    times = []
    for _ in range(2):
        with Guest(icount=True, memory="512M") as guest:
            assert guest.run(["nproc"]).stdout == "1\n"
            times.append(int(guest.run(["python3", "-S", "-c", ROUNDS]).stdout))
    assert times[0] == pytest.approx(times[1], rel=0.001)
