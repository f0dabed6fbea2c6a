# SPDX-License-Identifier: GPL-2.0-only
"""The guest that has nothing but a static busybox, and bundles in it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from page_alloc_bench.targets.appliance import Appliance
from page_alloc_bench.targets.process import TargetError

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
from page_alloc_bench.targets.appliance import Appliance
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
