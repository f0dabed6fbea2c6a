# SPDX-License-Identifier: GPL-2.0-only
"""A host that dies in order 4 leaves a valid result of order 0 on its disk."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import by_schema
from page_alloc_bench.analysis import results
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(90)

BENCH = "/root/bench.run"
RUN = f"{BENCH} --iterations=1 --held=200 --spread=100 --output-path /mnt/result.json"
AT = "order 4, antagonized"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk that outlives the guest that has it."""
    image = tmp_path / "disk.ext4"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", image], check=True)
    return image


def plug_in(guest: Guest, image: Path) -> None:
    """Give a guest one more disk, and mount it."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(f"{guest.scratch}/qmp")
        with monitor.makefile("rw", encoding="utf-8") as stream:
            stream.readline()  # the greeting
            for command, arguments in (
                ("qmp_capabilities", {}),
                ("blockdev-add", {"driver": "raw", "node-name": "kept",
                                  "file": {"driver": "file", "filename": str(image)}}),
                ("device_add", {"driver": "virtio-blk-pci", "drive": "kept", "id": "kept"}),
            ):  # fmt: skip
                stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
                stream.flush()
                while "return" not in (answer := json.loads(stream.readline())):
                    assert "error" not in answer, answer
    guest.run(
        "while ! [ -b /dev/vdb ]; do sleep 0.1; done; mount /dev/vdb /mnt", timeout=PATIENCE_S
    )


def read_back(image: Path, tmp_path: Path) -> Path:
    """Return what a machine that boots again finds as /mnt/result.json."""
    mended = subprocess.run(["/sbin/e2fsck", "-fy", image], capture_output=True, check=False)
    assert mended.returncode in (0, 1), mended.stdout
    found = tmp_path / "result.json"
    subprocess.run(
        ["/sbin/debugfs", "-R", f"dump /result.json {found}", image],
        capture_output=True, check=True,
    )  # fmt: skip
    return found


def die_in_order_4(guest: Guest, how: str) -> None:
    run = guest.popen(RUN, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert run.stderr is not None
    # A guest that is gone says nothing more: the connection may wait for long.
    watch = threading.Timer(400, run.kill)
    watch.start()
    said = ""
    while AT not in said:
        line = run.stderr.readline()
        assert line, said
        said += line
    if how == "panic":
        trigger = guest.popen("echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger")
        deadline = time.monotonic() + 60
        while guest.alive() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not guest.alive()
        trigger.kill()
        assert "Kernel panic - not syncing: sysrq triggered crash" in guest.console()
    guest.kill()
    run.kill()
    watch.cancel()


@pytest.mark.parametrize("how", ["kill", "panic"])
def test_a_dead_host_leaves_the_orders_that_were_done(
    how: str, bundle: Path, disk: Path, tmp_path: Path
) -> None:
    with Guest(kernel="6.1", cpus=2, nodes=1, memory="512M") as guest:
        guest.copy_to(bundle, BENCH)
        plug_in(guest, disk)
        die_in_order_4(guest, how)
    path = read_back(disk, tmp_path)
    document: dict[str, Any] = json.loads(path.read_text())
    by_schema.hold(document)
    run = document["run"]
    assert run["complete"] is False
    assert run["ended"]["exit_code"] == 137
    done = [phase["name"] for phase in run["phases"] if phase["order"] == 0]
    assert done[-1] == "results"
    assert all(phase["complete"] for phase in run["phases"])
    assert document["kernel_page_allocs_order0"][0] > 0
    assert len(document["antagonized_available_bytes_order0"]) == 1
    assert len(document["idle_available_bytes_order4"]) == 1
    assert document["kernel_page_allocs_order4"] == []
    assert results.load(path).run["complete"] is False
