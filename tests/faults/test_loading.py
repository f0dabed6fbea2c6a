# SPDX-License-Identifier: GPL-2.0-only
"""A module that cannot be loaded, opened or set up: the reason is given, and nothing is left."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lab
from page_alloc_bench.packager import build as building
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

BUNDLE = "/root/bench.run"
ORDER_0 = ["--iterations=1", "--alloc-orders=0", "--held=200", "--spread=100", "--quiet"]
pytestmark = pytest.mark.seconds(8)
LEFT = "grep page_alloc_bench /proc/modules; ls /dev/shm; pgrep 'pab|bench'; true"


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=4, nodes=2, memory="768M") as guest:
        guest.copy_to(bundle, BUNDLE)
        guest.run([BUNDLE, *ORDER_0])  # fills slab and per-CPU lists
        yield guest


def fails(host: Guest, command: list[str], code: int, *words: str) -> None:
    """Run what cannot be loaded, and hold what is left behind to nothing."""
    before = lab.free_bytes(host)
    done = host.run(command, check=False, timeout=PATIENCE_S)
    assert done.returncode == code, done.stderr
    for word in words:
        assert word in done.stderr
    assert host.run(LEFT).stdout == ""
    free = lab.await_free(host, 0.995 * before)
    assert free >= 0.995 * before
    assert not re.search("WARNING|BUG|Oops", host.dmesg())


def without(capability: str) -> list[str]:
    return [
        "setpriv",
        f"--bounding-set=-{capability}",
        f"--inh-caps=-{capability}",
        BUNDLE,
        *ORDER_0,
    ]


@pytest.mark.parametrize("capability", ["sys_module", "sys_admin", "sys_resource"])
@pytest.mark.attempt(
    "root without the capability {capability}", "exit 3, with the reason", "before a run"
)
def test_root_that_may_not_do_what_a_run_has_to(host: Guest, capability: str) -> None:
    fails(host, without(capability), 3, f"root has no CAP_{capability.upper()}")


@pytest.mark.attempt(
    "module of another kernel", "exit 3, with what the kernel's log says", "loading"
)
def test_a_module_for_another_kernel(
    host: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assemble = building.bundle.assemble

    def altered(modules: list[Any], *rest: Any) -> bytes:
        other = [
            dataclasses.replace(each, data=each.data.replace(b" mod_unload ", b" mod_unlaod "))
            for each in modules
        ]
        return assemble(other, *rest)

    monkeypatch.setattr(building.bundle, "assemble", altered)
    build(BuildRequest(kernels.fetch().kdir, output=tmp_path / "other.run", python=building.HOST))
    host.copy_to(tmp_path / "other.run", "/root/other.run")
    words = "it was built for another kernel", " mod_unlaod "
    fails(host, ["/root/other.run", *ORDER_0], 3, *words)


@pytest.mark.attempt("no memory for the module's buffers", "exit 1, nobody killed", "configuring")
def test_buffers_that_there_is_no_memory_for(host: Guest) -> None:
    kills = host.dmesg().count("Out of memory")
    greedy = ["--sample-size=4194304", "--accept=antagonist-size"]
    command = [BUNDLE, "--cpus=0-3", "--held=16000000", *greedy, *ORDER_0[:2], "--quiet"]
    fails(host, command, 1, "the module cannot prepare order 0: Cannot allocate memory")
    assert host.dmesg().count("Out of memory") == kills


def test_the_next_run_works(host: Guest) -> None:
    assert json.loads(host.run([BUNDLE, *ORDER_0]).stdout)["run"]["complete"] is True


@pytest.mark.attempt("stale module of our name", "replaced, with a warning", "loading")
def test_a_stale_module_is_replaced_with_a_warning(host: Guest) -> None:
    lab.install(host)
    host.run(["insmod", f"{lab.IN_GUEST}/page_alloc_bench.ko"])
    done = host.run([BUNDLE, *ORDER_0])
    assert "was loaded already, unused: it has been replaced" in done.stderr
    assert json.loads(done.stdout)["run"]["warnings"]
    assert "page_alloc_bench" not in host.run(["cat", "/proc/modules"]).stdout


@pytest.mark.attempt("module in use by somebody else", "exit 3; left alone", "loading")
def test_a_module_in_use_is_left_alone(host: Guest) -> None:
    lab.install(host)
    host.run(["insmod", f"{lab.IN_GUEST}/page_alloc_bench.ko"])
    done = host.run(f"{BUNDLE} 3</dev/page_alloc_bench", check=False)
    assert done.returncode == 3
    assert "is loaded and in use" in done.stderr
    host.run(["rmmod", "page_alloc_bench"])


@pytest.mark.attempt("antagonist larger than memory", "exit 3, with what to lower", "before a run")
def test_too_greedy_an_antagonist_is_refused(host: Guest) -> None:
    done = host.run([BUNDLE, "--held=100000"], check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert "lower --held and --spread" in done.stderr
