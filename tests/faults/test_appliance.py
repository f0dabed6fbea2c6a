# SPDX-License-Identifier: GPL-2.0-only
"""The guest that has nothing but a static busybox, and bundles in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import by_schema
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.appliance import Appliance, Finished
from page_alloc_bench.targets.kernels import FetchedKernel
from page_alloc_bench.targets.process import TargetError
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(12)
LOOK = """
cat /root/given /etc/empty
echo "to stderr" >&2
test -x /root/program && /root/program one
id -u; nproc; uname -m
cat /sys/devices/system/node/online
awk '{ print "mounted", $2 }' /proc/mounts
mkdir -p /root/dir/deep
echo kept >/root/dir/deep/file
printf '\\000\\377' >/root/raw
find / -xdev -name '*.so*' -o -xdev -name 'python*'
exit 7
"""


def test_files_words_and_status_go_in_and_out(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "program $1"\n')
    program.chmod(0o755)
    guest = Appliance("6.1", cpus=4, nodes=2)
    done = guest.run(
        LOOK,
        {"/root/given": b"given\n", "/etc/empty": b"", "/root/program": program},
        collect=["/root/dir", "/root/raw", "/root/absent"],
    )
    assert done.status == 7
    assert done.stdout.splitlines() == [
        *("given", "program one", "0", "4", "x86_64", "0-1"),
        *(f"mounted {place}" for place in ("/", "/proc", "/sys", "/dev", "/dev/shm", "/tmp")),
        "mounted /appliance/output",
    ]
    assert done.stderr == "to stderr\n"
    assert done.files == {"/root/dir/deep/file": b"kept\n", "/root/raw": b"\0\xff"}
    assert f"Linux version {guest.kernel.release}" in done.dmesg
    assert "WARNING" not in done.dmesg + done.console
    assert "Restarting system" in done.console


def test_a_script_may_spoil_its_place() -> None:
    spoil = """
    rm /bin/tar /bin/dmesg /bin/cat
    mount -o remount,noexec /tmp && mount -o remount,ro / && umount /dev/shm
    touch /root/file || echo read-only
    printf '#!/bin/sh\\n' >/tmp/program; chmod +x /tmp/program; /tmp/program || echo noexec
    """
    done = Appliance("6.1", cpus=1).run(spoil)
    assert (done.status, done.stdout) == (0, "read-only\nnoexec\n")


def test_a_panic_is_told_apart_from_an_end() -> None:
    with pytest.raises(TargetError, match=r"panicked: .*sysrq triggered crash"):
        Appliance("6.1", cpus=1).run("echo c >/proc/sysrq-trigger; sleep 60")


def test_a_script_that_does_not_end_is_an_error() -> None:
    guest = Appliance("6.1", cpus=1)
    with pytest.raises(TargetError, match=r"(?s)did not end within 15 s.*still here"):
        guest.run("echo still here >/dev/console; sleep 600", timeout=15)


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


OWNER = """
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.runner.result import document as result
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.appliance import Appliance, Finished
Appliance("6.1", cpus=1).run("sleep 600", timeout=600)
"""


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory with a short name: a longer one would not be taken for QEMU's sockets."""
    with tempfile.TemporaryDirectory(prefix="pab-test.", dir="/tmp") as path:
        yield Path(path)


def test_nothing_outlives_an_owner_that_is_killed(scratch: Path) -> None:
    def left() -> list[str]:
        words = (" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
        return [line for line in words if str(scratch) in line]

    environment = {**os.environ, "TMPDIR": str(scratch)}
    owner = subprocess.Popen([sys.executable, "-c", OWNER], env=environment)
    wait_for(lambda: any("qemu-system" in line for line in left()))
    assert len(list(scratch.iterdir())) == 1
    owner.kill()
    owner.wait()
    wait_for(lambda: not left() and not list(scratch.iterdir()))


RUN = """
list() {
    find / -xdev ! -path '/appliance/*'
    find /dev /dev/shm /tmp -xdev
}
list >/appliance/before
./bench.run --iterations 1 --held 300 --spread 300 --output-path /appliance/result.json
status=$?
list >/appliance/after
cat /proc/modules >/appliance/modules
grep -l . /proc/[0-9]*/cmdline | xargs cat >/appliance/processes
exit $status
"""
WRITTEN = ("result.json", "before", "after", "modules", "processes")


def run_whole(kernel: FetchedKernel, bundle: Path, nodes: int) -> tuple[Finished, dict[str, Any]]:
    """Run a bundle in short; return what came of it and its result, which is a valid one."""
    guest = Appliance(kernel, cpus=4, nodes=nodes)
    collect = [f"/appliance/{name}" for name in WRITTEN]
    done = guest.run(RUN, {"/root/bench.run": bundle}, collect, timeout=PATIENCE_S)
    assert done.status == 0, done.stderr
    document = json.loads(done.files["/appliance/result.json"])
    by_schema.hold(document)
    assert document["run"]["complete"] is True
    assert document["run"]["kernel"]["release"] == kernel.release
    assert len(document["run"]["machine"]["nodes"]) == nodes
    for order in (0, 4):
        assert document[f"idle_available_bytes_order{order}"][0] > 600 << 20
        assert len(document[f"kernel_page_allocs_per_cpu_order{order}"]) == 4
        assert min(document[f"kernel_page_allocs_per_cpu_order{order}"]) > 300
    assert not re.search(r"WARNING|BUG|Oops", done.dmesg), done.dmesg
    return done, document


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for the default kernel, with the Python that it embeds by default."""
    path = tmp_path_factory.mktemp("bundle") / "bench.run"
    build(BuildRequest(kdir=kernels.fetch("6.1").kdir, output=path))
    return path


@pytest.mark.attempt("a host without libc and Python", "complete; nothing left", "a whole run")
def test_a_bundle_needs_no_python_and_no_libc_and_leaves_nothing(bundle: Path) -> None:
    done, _ = run_whole(kernels.fetch("6.1"), bundle, 2)
    assert "allocations/s per CPU" in done.stderr
    before, after, modules, processes = (done.files[f"/appliance/{name}"] for name in WRITTEN[1:])
    assert after == before
    assert before.count(b"\n") > 300
    assert b"page_alloc_bench" not in modules
    assert b"virtio_blk" in modules
    assert b"bench.run" not in processes
    assert b"/init" in processes
