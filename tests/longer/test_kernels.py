# SPDX-License-Identifier: GPL-2.0-only
"""The whole job, in brief, on the oldest kernel; tests/matrix has all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import by_schema
import lab
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.building import tree_request
from page_alloc_bench.targets.guest import Guest

OLDEST = "5.10"


def test_a_whole_run(tmp_path: Path) -> None:
    fetched = kernels.fetch(kernels.lookup(OLDEST))
    bundle = tmp_path / "bench.run"
    build(BuildRequest(**vars(tree_request(fetched)), output=bundle))
    with Guest(fetched, cpus=4, nodes=2, memory="768M") as guest:
        guest.copy_to(bundle, "/home/bench/bench.run", user="bench")
        options = "--iterations 1 --held 300 --spread 300"
        done = guest.run(f"sudo ./bench.run {options}", user="bench", check=False)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        by_schema.hold(document)
        assert document["run"]["complete"] is True
        assert lab.warnings_but_preflights(document) == []
        assert document["run"]["kernel"]["release"] == fetched.release
        for order in (0, 4):
            assert document[f"idle_available_bytes_order{order}"][0] > 450 << 20
            assert min(document[f"kernel_page_allocs_per_cpu_order{order}"]) > 300
        assert guest.run("grep -c page_alloc_bench /proc/modules", check=False).stdout == "0\n"
        assert not re.search(r"WARNING|BUG|Oops", guest.dmesg())
