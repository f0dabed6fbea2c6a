# SPDX-License-Identifier: GPL-2.0-only
"""The device under a real udevd: whose it is, and that a rule opens its node and not the module."""

from __future__ import annotations

import json
import subprocess

import pytest

from faults import systemd_host
from faults.advised import BENCH, SMALL
from faults.systemd_host import Host
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(35)
host = systemd_host.host

WATCH = """
import json, os, sys, time
seen = set()
while not os.path.exists("/run/stop-watching"):
    try:
        found = os.stat("/dev/page_alloc_bench")
        seen.add((found.st_mode & 0o777, found.st_uid, found.st_gid))
        try:
            with open("/proc/modules") as file:
                pass
            if len(sys.argv) > 1:
                os.setresuid(-1, 1000, -1)
                try:
                    os.close(os.open("/dev/page_alloc_bench", os.O_RDWR))
                    seen.add("opened")
                except OSError as error:
                    seen.add(error.strerror)
                finally:
                    os.setresuid(-1, 0, -1)
        except OSError:
            pass
    except FileNotFoundError:
        pass
print(json.dumps(sorted(map(str, seen))))
"""


def watched(host: Host, *words: str) -> list[str]:
    """What the device was seen to be from before the module is loaded until it has gone."""
    host.guest.run("rm -f /run/stop-watching; udevadm settle")
    watcher = host.guest.popen(["python3", "-c", WATCH, *words], stdout=subprocess.PIPE, text=True)
    done = host.type(f"{host.sudo}{BENCH} {SMALL}")
    host.guest.run("udevadm settle; touch /run/stop-watching")
    out, _ = watcher.communicate(timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    seen: list[str] = json.loads(out)
    return seen


def test_the_device_is_roots_alone_for_as_long_as_it_is_there(host: Host) -> None:
    assert watched(host) == ["(384, 0, 0)"]  # 0600


@pytest.mark.attempt("udev rule with MODE=0666", "EPERM for others", "a whole run",
                     kernel="{host[1]}")  # fmt: skip
def test_a_rule_of_udevs_opens_the_node_and_not_the_module(host: Host) -> None:
    rule = "/run/udev/rules.d/99-open.rules"
    text = 'KERNEL=="page_alloc_bench", MODE="0666"'
    host.guest.run(f"mkdir -p /run/udev/rules.d; echo '{text}' > {rule}; udevadm control --reload")
    try:
        seen = watched(host, "as a user")
    finally:
        host.guest.run(f"rm {rule}; udevadm control --reload")
    assert "(438, 0, 0)" in seen  # 0666: the rule has its way
    assert "Operation not permitted" in seen
    assert "opened" not in seen
