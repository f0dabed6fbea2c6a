# SPDX-License-Identifier: GPL-2.0-only
"""A module that says it was made for another build of the running release is not loaded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from page_alloc_bench.packager import build as building
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

SHORT = ["--iterations=1", "--alloc-orders=0", "--cpus=0", "--held=200", "--spread=100", "--quiet"]
pytestmark = pytest.mark.seconds(8)
UNKNOWN = {"build_id": None, "version": None, "config": None}
# What is put in the place of what the tree says.
CHANGES: Mapping[str, Mapping[str, str | None]] = {
    "own": {},
    "id": {"build_id": "00" * 20},
    "version": {"version": "#2 SMP PREEMPT_DYNAMIC Tue Jan 2 03:04:05 UTC 2024"},
    "unknown": UNKNOWN,
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("bundles")
    made: dict[str, Path] = {}
    assemble = building.bundle.assemble

    def all_of_them(modules: list[Any], *rest: Any) -> bytes:
        for name, change in CHANGES.items():
            others = [dataclasses.replace(each, build={**each.build, **change}) for each in modules]
            made[name] = top / f"{name}.run"
            made[name].write_bytes(assemble(others, *rest))
        return assemble(modules, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building.bundle, "assemble", all_of_them)
        build(BuildRequest(kernels.fetch().kdir, output=top / "bench.run", python=building.HOST))
    return made


@pytest.fixture(scope="module")
def host(bundles: dict[str, Path]) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=2, memory="768M") as guest:
        for name, path in bundles.items():
            guest.copy_to(path, f"/root/{name}.run")
        yield guest


def run(host: Guest, name: str, *more: str) -> tuple[int, str, dict[str, Any]]:
    """Run a bundle; return its exit code, what it said, and what of it is about the build."""
    done = host.run(["sh", f"/root/{name}.run", *SHORT, *more], check=False, timeout=PATIENCE_S)
    told = json.loads(done.stdout)["run"] if done.stdout else {}
    return done.returncode, done.stderr, told


@pytest.mark.attempt("module of another build of this release", "exit 3, not loaded", "loading")
@pytest.mark.parametrize(("name", "evidence"), [("id", "build id"), ("version", "uname -v")])
def test_another_build_is_refused(host: Guest, name: str, evidence: str) -> None:
    code, said, told = run(host, name)
    assert (code, told) == (3, {})
    assert f"another build of {host.kernel.release}: its {evidence} is " in said
    assert "--accept other-build" in said
    assert "page_alloc_bench" not in host.dmesg()


def test_its_own_build_is_taken_without_a_word(host: Guest) -> None:
    code, said, told = run(host, "own")
    assert code == 0, said
    assert told["kernel"]["module_build"]["same"] is True
    assert len(told["kernel"]["build_id"]) == 40
    assert "other-build" not in {finding["name"] for finding in told["preflight"]}


def test_one_that_cannot_be_told_is_warned_of(host: Guest) -> None:
    code, said, told = run(host, "unknown")
    assert code == 0, said
    assert {**told["kernel"]["module_build"]} == {"same": None, "by": None, **UNKNOWN}
    assert any("it is not known which build that was" in text for text in told["warnings"])


def test_one_that_is_accepted_stands_in_the_result(host: Guest) -> None:
    code, said, told = run(host, "version", "--accept=other-build")
    assert code == 0, said
    assert told["kernel"]["module_build"]["same"] is False
    assert told["kernel"]["module_build"]["by"] == "version"
    (finding,) = [each for each in told["preflight"] if each["name"] == "other-build"]
    assert finding["accepted"] is True
    assert any("another build of" in text for text in told["warnings"])
