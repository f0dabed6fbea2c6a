# SPDX-License-Identifier: GPL-2.0-only
"""`fleet run --build-on-target` on guests: one compiles its module and measures, one cannot."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import guest_compiler
import lab
import restarting
import waiting
from fleet_guests import GuestFleet, leftovers
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest

pytestmark = pytest.mark.seconds(600)

PACKED = "5.10"  # the kernel that the bundle has a module for, which no host runs
NAMES = ("builds", "bare")
TOOLS = "make|cc1|gcc|modpost|pab"
LEFT = 0.995  # of free memory, at least


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Guest]]:
    with contextlib.ExitStack() as stack:
        found = {name: stack.enter_context(Guest(cpus=1, nodes=1, memory="768M")) for name in NAMES}
        guest_compiler.give(found["builds"], tmp_path_factory.mktemp("compiler"))
        yield found


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return restarting.make_bundles(tmp_path_factory.mktemp("bundles"), (PACKED,))


def has_nothing_more(guest: Guest, files: str, free: int) -> None:
    """See that a guest has no file, module, process or page more than before."""
    assert leftovers(guest) == ""
    assert every_file(guest) == files
    assert guest.run(f"pgrep -l '{TOOLS}'", check=False).stdout == ""
    assert lab.await_free(guest, LEFT * free) >= LEFT * free


def every_file(guest: Guest) -> str:
    return guest.run("find / /dev/shm /run -xdev -type f ! -path '/var/log/*' | sort").stdout


def is_the_result_of_a_host_that_built(fleet: GuestFleet) -> None:
    found = fleet.result("builds")
    release = kernels.fetch().release
    assert found["run"]["complete"] is True
    assert found["run"]["kernel"]["release"] == release
    packed, built = found["run"]["bundle"]["modules"]
    assert packed["release"] == kernels.fetch(PACKED).release
    assert (built["release"], built["built_on_target"]) == (release, True)
    assert min(found[f"{restarting.METRIC}_order0"]) > 0


def test_a_host_compiles_and_measures_and_one_without_headers_stops_no_other(
    bundles: Path, guests: dict[str, Guest], tmp_path: Path
) -> None:
    before = {name: (every_file(each), lab.free_bytes(each)) for name, each in guests.items()}
    fleet = GuestFleet(tmp_path, guests, bundles, restarting.RUN)
    code, told, err = fleet.run("--build-on-target")
    assert code == 1, err
    release = kernels.fetch().release
    assert told["builds"] == "ok", (told, err)
    assert told["bare"].startswith("no-module the module cannot be built here: the headers of "), (
        told
    )
    assert f"install linux-headers-{release} on Debian" in told["bare"]
    is_the_result_of_a_host_that_built(fleet)
    assert len(list((fleet.store / "runs").rglob("*.parquet"))) == 1
    for name, each in guests.items():
        has_nothing_more(each, *before[name])


def test_a_controller_that_is_killed_while_a_host_compiles_goes_on(
    bundles: Path, guests: dict[str, Guest], tmp_path: Path
) -> None:
    guest = guests["builds"]
    before = every_file(guest), lab.free_bytes(guest)
    fleet = GuestFleet(tmp_path, {"builds": guest}, bundles, restarting.RUN)
    process = fleet.start("--build-on-target")
    try:
        assert waiting.in_a_guest(lambda: guest.run("pgrep cc1", check=False).returncode == 0, 1800)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    code, told, err = fleet.run("--build-on-target")
    assert (code, told) == (0, {"builds": "ok"}), err
    is_the_result_of_a_host_that_built(fleet)
    assert len(list((fleet.store / "runs").rglob("*.parquet"))) == 1
    has_nothing_more(guest, *before)


def test_a_host_without_a_compiler_says_which_it_needs(
    bundles: Path, guests: dict[str, Guest], tmp_path: Path
) -> None:
    guest = guests["builds"]
    guest.run("mv /usr/bin/gcc-12 /usr/bin/gcc-away")
    before = every_file(guest), lab.free_bytes(guest)
    try:
        fleet = GuestFleet(tmp_path, {"builds": guest}, bundles)
        code, told, err = fleet.run("--build-on-target")
        has_nothing_more(guest, *before)
    finally:
        guest.run("mv /usr/bin/gcc-away /usr/bin/gcc-12")
    assert code == 1, err
    assert told["builds"].startswith("no-module the module cannot be built here: "), told
    assert "gcc-12 is not installed" in told["builds"]
