# SPDX-License-Identifier: GPL-2.0-only
"""With swap, and swap that is memory, what the child counted is what the kernel says it had."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import lab
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import building, kernels
from page_alloc_bench.targets.guest import Guest

pytestmark = pytest.mark.seconds(60)
BENCH = "/root/bench.run"
OPTIONS = "--iterations 2 --alloc-orders 0 --held 50 --spread 50 --quiet"
MIB = 1 << 20
FILE = (
    "dd if=/dev/zero of=/swapfile bs=1M count=128 status=none; chmod 600 /swapfile; "
    "mkswap -q /swapfile; swapon /swapfile"
)
SWAPS = {
    "a file": FILE,
    "zswap": f"echo 1 > /sys/module/zswap/parameters/enabled; {FILE}",
    "zram": "modprobe zram; echo 128M > /sys/block/zram0/disksize; mkswap -q /dev/zram0; "
    "swapon /dev/zram0",
}
KERNELS = {"6.1": ("a file", "zram"), "6.1-rt": ("zswap",), "7.3": tuple(SWAPS)}  # what they have


@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name, has in KERNELS.items() for what in has]
)
@pytest.mark.attempt("swap in {what}", "child and kernel agree", "a whole run", kernel="{name}")
def test_the_witnesses_agree_with_swap(name: str, what: str, tmp_path: Path) -> None:
    """Since 6.12 a huge page that is split for swap loses its pages of zeros."""
    kernel = kernels.fetch(name)
    bundle = tmp_path / "bench.run"
    tree = building.tree_request(kernel)
    build(BuildRequest(**vars(tree), output=bundle), progress=lambda _message: None)
    with Guest(kernel, cpus=2, nodes=1, memory="768M") as guest:
        guest.copy_to(bundle, BENCH)
        lab.give_drivers(guest, "zram", "lzo_rle")
        setting = "/sys/kernel/mm/transparent_hugepage/enabled"
        guest.run(f"[ ! -e {setting} ] || echo madvise > {setting}")  # 6.1-rt has none
        guest.run(f"set -e; {SWAPS[what]}; sync; echo 3 > /proc/sys/vm/drop_caches")
        for thp in ("always", "never"):
            before = compressed_pages(guest)
            read = json.loads(guest.run(f"{BENCH} {OPTIONS} --thp {thp}").stdout)
            said = lab.warnings_but_preflights(read)
            assert [text for text in said if "did not run for" not in text] == [], thp
            swapped = [each["swapped_bytes"] for each in read["run"]["iterations"]]
            assert max(swapped) > 64 * MIB, (thp, swapped)
            assert (compressed_pages(guest) > before) == (what == "zswap")


def compressed_pages(guest: Guest) -> int:
    """Return how many pages zswap has taken so far; 0 where the kernel has none."""
    found = re.search(r"^zswpout (\d+)", guest.run("cat /proc/vmstat").stdout, re.MULTILINE)
    return int(found[1]) if found else 0
