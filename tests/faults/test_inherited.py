# SPDX-License-Identifier: GPL-2.0-only
"""Whatever a run inherits: the figure of a plain start, or a recorded fact and a warning.

One small guest. What is set back gives the plain figure; what cannot be is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(10)
BENCH = "/root/bench.run"
WEAR = "python3 /root/wear.py"
RUN = (
    f"{BENCH} --iterations=1 --alloc-orders=0 --held=200 --latencies=none --quiet --stall-s=60 "
    "--output-path=/root/result.json"
)
TOLERANCE = 0.04  # of the plain figure: what differs between runs of one boot of a small guest


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=2, nodes=2, memory="640M") as guest:
        guest.copy_to(bundle, BENCH)
        guest.copy_to(Path(__file__).parents[1] / "wear.py", "/root/wear.py")
        yield guest


def run(host: Guest, starter: str = "") -> dict[str, Any]:
    """Return the result of a complete run started in this way."""
    host.run("rm -f /root/result.json")
    done = host.run(f"cd /root && {starter} {RUN}", check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(host.run("cat /root/result.json").stdout)
    assert document["run"]["complete"] is True
    return document


def idle(document: dict[str, Any]) -> int:
    value: int = document["idle_available_bytes_order0"][0]
    return value


@pytest.fixture(scope="module")
def plain(host: Guest) -> int:
    document = run(host)
    assert document["run"]["inherited"]["reset"] == {}
    assert "inherited" not in {f["name"] for f in document["run"]["preflight"]}
    return idle(document)


RESET = {
    "memory_policy": f"{WEAR} policy bind:1 --",
    "scheduling": "chrt -f 50",
    "nice": "nice -n 19",
    "io_priority": "ionice -c 3",
    "timer_slack_ns": f"{WEAR} timerslack 500000000 --",
    "io_flusher": f"{WEAR} io-flusher 1 --",
    "thp_disabled": f"{WEAR} thp-disable 1 --",
    "personality": "setarch -R",
    "resource_limits": "prlimit --data=300000000 --fsize=100000 --nofile=60 --cpu=600",
}


@pytest.mark.parametrize("name", RESET)
@pytest.mark.attempt("an unusual {name} to inherit", "set back: the plain figure", "a whole run")
def test_what_can_be_set_back_changes_no_figure(host: Guest, plain: int, name: str) -> None:
    document = run(host, RESET[name])
    found = document["run"]["inherited"]["reset"][name]
    assert name != "resource_limits" or "FSIZE=100000" in str(found)
    assert document["run"]["iterations"][0]["constraint"] == "CONSTRAINT_NONE"
    assert abs(idle(document) - plain) <= TOLERANCE * plain


SAME = {
    "no memory to lock": "prlimit --memlock=0",
    "an endless stack": "prlimit --stack=unlimited",
    "one process": "prlimit --nproc=1",
    "core dumps of everything": f"{WEAR} coredump 0xff --",
    "500 descriptors": f"{WEAR} descriptors 500 --",
    "SIGCHLD and SIGALRM ignored": f"{WEAR} ignore SIGCHLD,SIGALRM --",
    "signals held": f"{WEAR} block SIGALRM,SIGCHLD,SIGTERM,SIGINT --",
    "orphans of others": f"{WEAR} subreaper 1 --",
    "a child of others": f"{WEAR} child --",
    "a directory that is gone": f"{WEAR} gone --",
    "umask 777": f"{WEAR} umask 777 --",
    "oom_score_adj -1000": "choom -n -1000 --",
    "no new privileges": "setpriv --no-new-privs",
}


@pytest.mark.parametrize("what", SAME)
@pytest.mark.attempt("{what}, inherited", "the plain figure", "a whole run")
def test_what_does_not_matter_changes_no_figure(host: Guest, plain: int, what: str) -> None:
    assert abs(idle(run(host, SAME[what])) - plain) <= TOLERANCE * plain


TOLD = {
    "seccomp": f"{WEAR} seccomp 9999 --",
    "environment": "env MALLOC_ARENA_MAX=1",
    "namespaces": "unshare -n",
}


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.attempt("{name}, inherited", "recorded, and warned of by name", "a whole run")
def test_what_cannot_be_set_back_is_recorded_and_told(host: Guest, name: str) -> None:
    document = run(host, TOLD[name])
    assert document["run"]["inherited"]["in_force"][name] not in ("", "off", None)
    assert [f["name"] for f in document["run"]["preflight"]].count("inherited") == 1
    said = f"this process has inherited: {name.replace('_', ' ')}"
    assert any(warning.startswith(said) for warning in document["run"]["warnings"])


KMSG = {
    "/dev/null": ("ln -s /dev/null /dev/kmsg", "character device 1:3"),
    "/dev/console": ("ln -s /dev/console /dev/kmsg", "character device 5:1"),
    "a FIFO": ("mkfifo /dev/kmsg", "a FIFO"),
    "a file": ("touch /dev/kmsg", "a regular file"),
}


@pytest.mark.parametrize("what", KMSG)
@pytest.mark.attempt("{what} in the place of /dev/kmsg", "refused, by name", "before a run")
def test_another_thing_in_the_place_of_the_log(host: Guest, what: str) -> None:
    make, said = KMSG[what]
    host.run(f"mv /dev/kmsg /dev/kmsg.kept && {make}")
    try:
        done = host.run(RUN, check=False, timeout=PATIENCE_S)
    finally:
        host.run("rm -f /dev/kmsg; mv /dev/kmsg.kept /dev/kmsg")
    assert done.returncode == 3
    assert said in done.stderr
    assert "mknod -m 644 /dev/kmsg c 1 11" in done.stderr
    assert host.run("grep ^page_alloc_bench /proc/modules", check=False).stdout == ""
