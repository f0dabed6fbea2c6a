# SPDX-License-Identifier: GPL-2.0-only
"""Whole runs on a host whose file systems make it hard, by its own Python and by the embedded one.

tests/longer/test_hosts.py has the many ways to start; here the module is loaded, and memory runs
out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(15)
NOEXEC = ("/dev/shm", "/tmp", "/var/tmp", "/home/bench/noexec")
OPTIONS = "--iterations 1 --alloc-orders 0 --sample-size 1000"
TRACES = """
grep page_alloc_bench /proc/modules
ls /dev/page_alloc_bench 2>/dev/null
find /dev/shm /tmp /var/tmp /run /home /root -xdev -not -path '/run/user/*' | sort
cat /proc/mounts
ps -eo comm | grep -E '^(pab|bench|python|ld-linux|dd|tar|gzip)' | sort
true
"""


@pytest.fixture(scope="module")
def host(guest: Guest, bundle: Path) -> Iterator[Guest]:
    """A guest with a read-only root on which only /run lets programs run."""
    guest.run("mkdir -p /home/bench/noexec")
    for place in NOEXEC:
        guest.run(f"mount -t tmpfs -o noexec tmpfs {place}")
    guest.copy_to(bundle, "/home/bench/noexec/bench.run")
    guest.run("mountpoint -q /run || { mount -t tmpfs tmpfs /run && touch /run/mounted; }")
    guest.run("sync; mount -o remount,ro /")
    yield guest
    guest.run("mount -o remount,rw /")
    guest.run("[ ! -e /run/mounted ] || umount /run")
    for place in reversed(NOEXEC):
        guest.run(f"umount {place}")
    guest.run("rmdir /home/bench/noexec")


@pytest.mark.parametrize(("python", "embedded"), [("", False), ("embedded", True)])
@pytest.mark.attempt("only /run lets programs run", "complete", "a whole run")
def test_a_whole_run_and_nothing_left(host: Guest, python: str, embedded: bool) -> None:
    before = host.run(TRACES).stdout
    command = f"env -u HOME PAGE_ALLOC_BENCH_PYTHON={python} sh noexec/bench.run {OPTIONS}"
    done = host.run(f"cd /home/bench && {command}", timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["run"]["complete"]
    assert result["run"]["python"]["embedded"] is embedded
    assert result["idle_available_bytes_order0"][0] > 0
    assert host.run(TRACES).stdout == before


@pytest.mark.attempt(
    "SIGKILL to the stub, which is the runner by then",
    "nothing left",
    "a whole run, embedded Python",
)
def test_a_killed_run_leaves_nothing(host: Guest) -> None:
    """The embedded Python lies in the very directory that the watchdog of the runner removes."""
    before = host.run(TRACES).stdout
    command = "PAGE_ALLOC_BENCH_PYTHON=embedded sh noexec/bench.run --quiet >/run/out"
    host.run(
        f"cd /home/bench; {command} & "
        "until grep -q page_alloc_bench /proc/modules; do sleep 0.2; done; sleep 3; "
        "kill -9 $!; wait; "
        "for _ in $(seq 100); do grep -q page_alloc_bench /proc/modules || break; sleep 0.2; done; "
        "sleep 1; rm /run/out",
        timeout=PATIENCE_S,
    )
    assert host.run(TRACES).stdout == before
