# SPDX-License-Identifier: GPL-2.0-only
"""With swap, and swap that is memory, what the child counted is what the kernel says it had."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import building, kernels
from page_alloc_bench.targets.guest import Guest

pytestmark = pytest.mark.seconds(60)
BENCH = "/root/bench.run"
OPTIONS = "--iterations 2 --alloc-orders 0 --held 50 --spread 50 --quiet"
MIB = 1 << 20
EXPECTED = re.compile("^swap is in use|did not run for")  # the latter on a busy machine
FILE = (
    "dd if=/dev/zero of=/swapfile bs=1M count=128 status=none; chmod 600 /swapfile; "
    "mkswap -q /swapfile; {zswap} swapon /swapfile"
)
ZSWAP = "echo 1 > /sys/module/zswap/parameters/enabled;"
ZRAM = (
    "for module in zsmalloc lz4_compress lzo_compress lzo-rle lz4 zram; do "
    "[ ! -e /root/$module.ko ] || insmod /root/$module.ko 2>/dev/null; done; "
    "echo 128M > /sys/block/zram0/disksize; mkswap -q /dev/zram0; swapon /dev/zram0"
)
SWAPS = {
    "a file": (FILE.format(zswap=""), "swapoff /swapfile"),
    "zswap": (FILE.format(zswap=ZSWAP), "swapoff /swapfile"),
    "zram": (ZRAM, "swapoff /dev/zram0"),
}


@pytest.mark.parametrize("name", ["6.1", "7.3"])
@pytest.mark.attempt("swap in a file, zswap, zram", "child and kernel agree", "a whole run")
def test_the_witnesses_agree_with_swap(name: str, tmp_path: Path) -> None:
    """Since 6.12 a huge page that is split for swap loses its pages of zeros."""
    kernel = kernels.fetch(name)
    bundle = tmp_path / "bench.run"
    tree = building.tree_request(kernel)
    build(BuildRequest(**vars(tree), output=bundle), progress=lambda _message: None)
    with Guest(kernel, cpus=2, nodes=1, memory="768M") as guest:
        guest.copy_to(bundle, BENCH)
        for pattern in ("drivers/block/zram/zram.ko*", "mm/zsmalloc.ko*", "lib/**/l*.ko*",
                        "crypto/lz*.ko*"):  # fmt: skip
            for module in (kernel.modules_dir / "kernel").glob(pattern):
                guest.copy_to(module, "/root/")
        guest.run("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
        guest.run("cd /root; unxz -f *.ko.xz 2>/dev/null; true")
        for what, (on, off) in SWAPS.items():
            if what == "zram" and not guest.run("ls /root/zram.ko", check=False).stdout:
                pytest.fail(f"{name} has no zram to be tried")
            guest.run(f"{on}; sync; echo 3 > /proc/sys/vm/drop_caches")
            for thp in ("always", "never"):
                read = json.loads(guest.run(f"{BENCH} {OPTIONS} --thp {thp}").stdout)
                said = [
                    text
                    for text in read["run"]["warnings"]
                    if not text.startswith("swap is in use")
                ]
                assert said == [], (what, thp)
                swapped = [each["swapped_bytes"] for each in read["run"]["iterations"]]
                assert max(swapped) > 64 * MIB, (what, thp, swapped)
            guest.run(off)
