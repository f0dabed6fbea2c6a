# SPDX-License-Identifier: GPL-2.0-only
"""Runs of the workloads that ask for huge pages, in a guest of their own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import by_schema
import lab
from page_alloc_bench.targets.guest import Guest

BENCH = "/root/bench.run"
# Does something as soon as a condition holds, and processes of the workload are there.
_ONCE = """
import glob, os, sys, time

def free(least):
    rows = [line.split()[4:] for line in open("/proc/buddyinfo")]
    return sum(int(n) << i for row in rows for i, n in enumerate(row) if i >= least) >> 9

def pieces():
    return free(0) - free(9)

def names():
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            yield open(path).read().strip()
        except OSError:
            pass

until = time.monotonic() + 400
# Whoever was to be killed may be gone again by then.
while not eval(sys.argv[1]) or "pab-user" not in names() or os.system(sys.argv[2]):
    if time.monotonic() > until:
        sys.exit("it does not come true: " + sys.argv[1])
    time.sleep(0.02)
"""


@contextmanager
def guest(bundle: Path) -> Iterator[Guest]:
    """Boot a guest that has the bundle, and in which nobody makes huge pages by himself."""
    with Guest(kernel="6.1", cpus=2, nodes=1, memory="1G", cmdline_extra=lab.CLEAR_FAST) as booted:
        booted.copy_to(bundle, BENCH)
        lab.let_khugepaged_sleep(booted)
        yield booted


def run(host: Guest, options: str, code: int = 0) -> dict[str, Any]:
    """Run a workload; return its result, which is as the schema has it."""
    host.run("rm -f /root/result.json")
    done = host.run(
        f"echo $$ > /root/pid; exec {BENCH} --workload {options} --output-path /root/result.json",
        check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    result: dict[str, Any] = json.loads(host.run("cat /root/result.json").stdout)
    by_schema.hold(result)
    return result


def do_once(host: Guest, scratch: Path, true: str, do: str) -> None:
    """Do something in a run as soon as a condition holds in a guest.

    true: of free(order), free blocks of an order and more, and pieces(), free memory in smaller
    ones than a huge page; both in huge pages.
    """
    program = scratch / "once.py"
    program.write_text(_ONCE)
    host.copy_to(program, "/root/once.py")
    host.run(["python3", "/root/once.py", true, do], timeout=500)


def end_and_find_every_page_back(
    host: Guest, scratch: Path, options: str, once: tuple[str, str], code: int | None
) -> None:
    """Start a run, do something to it, and look at what is left.

    once: a condition, and what is done as soon as it holds, as do_once() takes them.
    code: its exit code, with which it leaves a partial result; None where it leaves nothing.
    """
    before = lab.free_bytes(host)
    process = host.popen(
        f"echo $$ > /root/pid; exec {BENCH} --workload {options} "
        "--output-path /root/cut.json >/dev/null 2>&1"
    )
    try:
        do_once(host, scratch, *once)
        ended = process.wait(300)
        if code is not None:
            assert ended == code
            cut = json.loads(host.run("cat /root/cut.json").stdout)
            assert cut["run"]["complete"] is False
    finally:
        process.kill()
    deadline = time.monotonic() + 30
    while (left := lab.traces(host)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == ""
    assert lab.await_free(host, before * 0.999) >= before * 0.999
