# SPDX-License-Identifier: GPL-2.0-only
"""A fleet whose hosts build the module where no bundle has one for their kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_up_fleet import Fleet, looked, ok
from page_alloc_bench.fleet.bundles import by_machine
from page_alloc_bench.fleet.engine import FAILED, Ended
from page_alloc_bench.runner.bundle_file import target_build
from page_alloc_bench.runner.errors import HostUnfitError

ANOTHER = {"6.12 x86_64": Path("b.run"), "6.1 aarch64": Path("c.run")}
# What the ssh client of the controller says besides.
CLIENT = "Warning: Permanently added '[127.0.0.1]:22' (ED25519) to the list of known hosts.\r\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def refused(host: str, said: str) -> Ended:
    return Ended(host, "detach", FAILED, {"rc": 3, "stdout": said, "stderr": CLIENT})


def test_a_host_builds_from_a_bundle_for_its_architecture(fleet: Fleet) -> None:
    builders = by_machine(ANOTHER)
    assert builders == {"x86_64": Path("b.run"), "aarch64": Path("c.run")}
    assert fleet.run(bundles=ANOTHER, builders=builders) == {"a": ("ok", "")}
    assert fleet.hosts.facts["begin"]["builders"] == {"x86_64": "b.run", "aarch64": "c.run"}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_without_a_bundle_that_runs_there_nothing_is_brought(fleet: Fleet, machine: str) -> None:
    builders = {} if machine == "x86_64" else {machine: Path("c.run")}
    reason = "no bundle has a module for 6.1 x86_64"
    fleet.hosts.begin = lambda h: [looked(h)]
    assert fleet.run(bundles={}, builders=builders) == {"a": ("no-module", reason)}
    assert [name for name, _ in fleet.hosts.plays] == ["begin"]


def test_why_a_module_cannot_be_built_is_told(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(target_build, "kdir", lambda: str(tmp_path / "none"))
    with pytest.raises(HostUnfitError) as real:
        target_build.require()
    said = f"page-alloc-bench: compiling it here\npage-alloc-bench: error: {real.value}\n"
    fleet.hosts.begin = lambda h: [looked(h), ok(h, "preflight"), refused(h, said)]
    what, reason = fleet.run(bundles=ANOTHER, builders=by_machine(ANOTHER))["a"]
    assert (what, reason) == ("no-module", str(real.value))
    assert "headers" in reason
    assert [name for name, _ in fleet.hosts.plays] == ["begin", "remove"]


def test_another_refusal_is_none_of_the_build(fleet: Fleet) -> None:
    said = "page-alloc-bench: error: another run is going on here\n"
    fleet.hosts.begin = lambda h: [looked(h), ok(h, "preflight"), refused(h, said)]
    what, reason = fleet.run(bundles=ANOTHER, builders=by_machine(ANOTHER))["a"]
    assert (what, reason) == ("refused", f"detach ended with 3: {said.strip()}")


def test_to_begin_may_take_longer_where_a_module_is_built(fleet: Fleet) -> None:
    fleet.run()
    usual = fleet.hosts.facts["begin"]["limits"]
    hosts = fleet.again()
    fleet.run("b", bundles=ANOTHER, builders=by_machine(ANOTHER))
    longer = hosts.facts["begin"]["limits"]
    for task in ("look", "remove"):  # they wait for a run that a killed controller has begun
        assert longer[task] > longer["detach"] > usual["detach"]
