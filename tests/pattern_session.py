# SPDX-License-Identifier: GPL-2.0-only
"""Python that drives patterns of the module on a machine under test, and tells what came of it."""

from __future__ import annotations

from typing import Any

import lab
from page_alloc_bench.targets.guest import Guest

HELPERS = """
import json, os, re, signal, time
from page_alloc_bench.runner.module.abi import *
from page_alloc_bench.runner.module.device import Device

CPUS = sorted(os.sched_getaffinity(0))
ANTAGONIST = dict(pattern="antagonist", parameters={"held": 100, "spread": 100}, order=0, seed=1,
                  cpus=CPUS, time_one_in=32, sample_capacity=100)
HANDOVER = {**ANTAGONIST, "pattern": "handover", "parameters": {"depth": 512}}
PAIRS = {**ANTAGONIST, "pattern": "pairs", "parameters": {"held": 0, "every": 1}}
STEPPING = {**PAIRS, "parameters": {"held": 7, "every": 100}}
BURSTS = {**ANTAGONIST, "pattern": "bursts", "parameters": {"depth": 100, "release": 0}}
BACKWARDS = {**BURSTS, "parameters": {"depth": 100, "release": 1}}
ANY_ORDER = {**BURSTS, "parameters": {"depth": 100, "release": 2}}
FRAGMENT = {**ANTAGONIST, "pattern": "fragment",
            "parameters": {"blocks": 30, "order": 9, "keep": 1, "every": 1}}
RINGS = {**ANTAGONIST, "pattern": "rings", "parameters": {"depth": 64, "fake": 0},
         "peers": {0: 2, 1: 3, 2: 1, 3: 0}}
FUNNEL = {**RINGS, "peers": {0: 1, 1: 1, 2: 1, 3: 3}}
BULK = {**ANTAGONIST, "pattern": "bulk", "parameters": {"pages": 64}}
ATOMIC = {**ANTAGONIST, "pattern": "atomic", "parameters": {"blocks": 1000, "every_ms": 1},
          "gfp": Gfp.ATOMIC}
FAKE = {**RINGS, "parameters": {"depth": 64, "fake": 1}}

TRACING = "/sys/kernel/tracing"

def trace_order_3():
    os.system(f"mountpoint -q {TRACING} || mount -t tracefs tracefs {TRACING}")
    for event in ("mm_page_alloc", "mm_page_free"):
        with open(f"{TRACING}/events/kmem/{event}/filter", "w") as file:
            file.write("order == 3")
    open(f"{TRACING}/trace", "w").close()

def traced():
    return [line for line in open(f"{TRACING}/trace") if " pab/" in line]

def pages(prefix):
    lines = [line.split() for line in open("/proc/vmstat")]
    return sum(int(value) for name, value in lines if name.startswith(prefix))

def free_bytes():
    on_cpu_lists = re.findall("^ +count: ([0-9]+)", open("/proc/zoneinfo").read(), re.M)
    return (pages("nr_free_pages") + sum(map(int, on_cpu_lists))) * 4096

def await_finished(session):
    deadline = time.monotonic() + 120
    while (progress := session.progress()).finished < progress.workers:
        assert time.monotonic() < deadline
        time.sleep(0.02)
"""


def ask(machine: Guest, code: str) -> Any:
    return lab.python(machine, HELPERS + code)
