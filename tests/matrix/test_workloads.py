# SPDX-License-Identifier: GPL-2.0-only
"""Every workload on every kernel of the list, in brief, in a guest with nothing but a busybox."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import by_schema
import lab
from page_alloc_bench.packager.build import EMBEDDED, BuildRequest, build
from page_alloc_bench.targets import foreign_python, kernels
from page_alloc_bench.targets.appliance import Appliance, Finished
from page_alloc_bench.targets.building import tree_request

pytestmark = pytest.mark.seconds(180)
OF_RATES = ("pairs", "bursts", "bulk", "remote", "funnel")
# What is absent, and the result says why: bulk allocation came with 5.13, MADV_POPULATE_WRITE with
# 5.14, and PREEMPT_RT has no huge pages.
LACKING = {
    "5.10": {"bulk", "exits", "faults", "fragment", "hugealloc"},
    "6.1-rt": {"fragment", "hugealloc"},
}
# With pages of 16 KiB the antagonist holds four times as much.
MEMORY = {"6.12-arm64-16k": "3G"}
# What nobody holds, the files in memory, and what the kernel has grown to its own use: in KiB. From
# 6.7 on an eighth of a zone may stay in the lists of CPUs, which MemFree leaves out.
_SCRIPT = """
page=$(awk '/^KernelPageSize:/ { print $2; exit }' /proc/self/smaps)
accounted() {
    awk -v page=$page '
        /^(MemFree|Cached|Slab|PageTables|KernelStack):/ { sum += $2 }
        $1 == "count:" { sum += $2 * page }
        END { print sum }
    ' /proc/meminfo /proc/zoneinfo
}
before=$(accounted)
./bench.run --workload all --quick --output-path result.json 2>stderr
status=$?
cat stderr >&2
echo "$before $(accounted)"
grep ^page_alloc_bench /proc/modules
exit $status
"""


@pytest.mark.parametrize("name", [each.name for each in kernels.KERNELS])
def test_every_workload(name: str, tmp_path: Path) -> None:
    fetched = kernels.fetch(name)
    bundle = tmp_path / "bench.run"
    request = BuildRequest(
        **vars(tree_request(fetched)), output=bundle, python=EMBEDDED,
        fetch_python=foreign_python.fetch,
    )  # fmt: skip
    build(request)
    done = Appliance(fetched, 2, 1, MEMORY.get(name, "1G")).run(
        _SCRIPT, {"/root/bench.run": bundle}, ["/root/result.json"], timeout=1800
    )
    assert done.status == 0, done.stderr
    assert not lab.TROUBLE.search(done.dmesg), done.dmesg
    document = json.loads(done.files["/root/result.json"])
    by_schema.hold(document)
    measured_or_absent(name, document["run"]["workloads"])
    counted_by_the_kernel(document)
    left_as_before(done)


def measured_or_absent(name: str, workloads: list[dict[str, Any]]) -> None:
    """Assert that each workload has cases, or says for each why it has none."""
    wanted = {*OF_RATES, "faults", "exits", "atomic", "fragment", "hugealloc"}
    assert {each["name"] for each in workloads} == wanted
    without = {each["name"] for each in workloads if not each["cases"]}
    assert without == LACKING.get(name, set())
    for each in workloads:
        assert all(case["why"] for case in each["absent"])
        assert each["cases"] or each["absent"]


def counted_by_the_kernel(document: dict[str, Any]) -> None:
    """Assert that the kernel's counters say of each phase of rates what the workers say."""
    for phase in document["run"]["phases"]:
        name, order = phase["name"], phase["order"]
        of_order = re.compile(rf"{name}_allocs_order{order}(_.*)?")
        found = [value for key, value in document.items() if of_order.fullmatch(key)]
        if name not in OF_RATES or not found:
            continue
        ours = sum(map(sum, found)) << order
        kernel = sum(n for key, n in phase["vmstat_delta"].items() if key.startswith("pgalloc_"))
        assert 0 < ours <= kernel < 1.1 * ours + 20_000, (name, order)


def left_as_before(done: Finished) -> None:
    """Assert that no module is there, and that no memory is lost."""
    before, after = map(int, done.stdout.split())
    assert after == pytest.approx(before, rel=0.001)
