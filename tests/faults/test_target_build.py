# SPDX-License-Identifier: GPL-2.0-only
"""--build-on-target: the module compiled where it is to run, and nothing of it left there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import guest_compiler
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(15)
BRIEF = "--iterations 1 --alloc-orders 0 --cpus 0 --quiet"


def test_in_a_guest_with_headers_and_a_compiler(tmp_path: Path) -> None:
    kernel = kernels.fetch()
    other = kernels.fetch("5.10")
    bundle = tmp_path / "bench.run"
    build(BuildRequest(other.kdir, cc=other.kernel.cc, output=bundle))
    with Guest(kernel=kernel, cpus=2, nodes=1, memory="1G") as guest:
        guest.copy_to(bundle, "/root/bench.run")

        def run(options: str) -> subprocess.CompletedProcess[str]:
            return guest.run(f"/root/bench.run {BRIEF} {options}", check=False, timeout=PATIENCE_S)

        def left() -> str:
            places = "/dev/shm /tmp /var/tmp /run"
            return guest.run(f"find {places} -name 'page-alloc*'; ! lsmod | grep page_alloc").stdout

        refused = run("")
        assert refused.returncode == 3
        assert f"this host runs {kernel.release} (x86_64)" in refused.stderr
        assert f"modules for {other.release} (x86_64)" in refused.stderr
        headless = run("--build-on-target")
        assert headless.returncode == 3
        assert f"install linux-headers-{kernel.release}" in headless.stderr

        guest_compiler.give(guest, tmp_path)
        done = run("--build-on-target")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["run"]["complete"] is True
        assert result["idle_available_bytes_order0"]
        assert left() == ""
        packed, built = result["run"]["bundle"]["modules"]
        assert (packed["release"], packed.get("built_on_target")) == (other.release, None)
        assert (built["release"], built["built_on_target"]) == (kernel.release, True)

        guest.run("mv /usr/bin/gcc-12 /usr/bin/gcc-away")
        gone = run("--build-on-target")
        assert gone.returncode == 3
        assert "gcc-12 is not installed" in gone.stderr
        guest.run("mv /usr/bin/gcc-away /usr/bin/gcc-12")

        killed = guest.popen(["/root/bench.run", "--build-on-target"], stderr=subprocess.DEVNULL)
        guest.run(
            "until pgrep cc1; do sleep 0.1; done; pkill -KILL -f -o bench.run", timeout=PATIENCE_S
        )
        killed.wait(PATIENCE_S)
        guest.run("for i in $(seq 100); do pgrep 'make|cc1|pab-watchdog' || exit 0; sleep 0.2; "
                  "done; exit 1", timeout=PATIENCE_S)  # fmt: skip
        assert left() == ""
