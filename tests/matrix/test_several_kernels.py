# SPDX-License-Identifier: GPL-2.0-only
"""One bundle for several kernels, on one of them."""

from __future__ import annotations

import json
from pathlib import Path

from page_alloc_bench.packager.build import HOST, BuildRequest, TreeRequest, build
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest


def test_the_module_is_chosen_by_the_release(guest: Guest, tmp_path: Path) -> None:
    here, there = guest.kernel, kernels.fetch("5.10")
    request = BuildRequest(
        there.kdir,
        cc="gcc",
        more=(TreeRequest(here.kdir),),
        output=tmp_path / "bench.run",
        python=HOST,
    )
    result = build(request)
    assert [module.info.release for module in result.modules] == [there.release, here.release]
    guest.copy_to(result.path, "/tmp/several.run")
    command = "/tmp/several.run --iterations 1 --alloc-orders 0 --cpus 0 --verbose"
    done = guest.run(command, timeout=600)
    guest.run("rm /tmp/several.run")
    assert f"loading modules/{here.release}-x86_64/page_alloc_bench.ko" in done.stderr
    packed = json.loads(done.stdout)["run"]["bundle"]["modules"]
    assert [entry["release"] for entry in packed] == [there.release, here.release]
    assert not any(entry.get("built_on_target") for entry in packed)
