# SPDX-License-Identifier: GPL-2.0-only
"""Python that drives the module's device on a machine under test, and tells what came of it."""

from __future__ import annotations

from typing import Any

import lab
from page_alloc_bench.targets.guest import Guest

CPUS = 4


HELPERS = """
import ctypes, errno, fcntl, json, os, re, signal, time
from page_alloc_bench.runner.module import abi
from page_alloc_bench.runner.module import device
from page_alloc_bench.runner.module.abi import *
from page_alloc_bench.runner.result.histogram import *

CPUS = sorted(os.sched_getaffinity(0))
CONFIG = dict(order=0, held=100, spread=100, seed=1, cpus=CPUS, time_one_in=32,
              sample_capacity=100)

# A session that runs the antagonist, unless told otherwise.
class Device(device.Device):
    def configure(self, *, held, spread, pattern="antagonist", **others):
        super().configure(pattern=pattern, parameters=dict(held=held, spread=spread), **others)

def settle(session):
    while session.progress().steady < session.progress().workers:
        time.sleep(0.02)

def counters(path="/proc/vmstat"):
    return {name: int(value) for name, value in (line.split() for line in open(path))}

def free_bytes():
    on_cpu_lists = re.findall("^ +count: ([0-9]+)", open("/proc/zoneinfo").read(), re.M)
    return (counters()["nr_free_pages"] + sum(map(int, on_cpu_lists))) * 4096

def fails(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "no error"
"""


def ask(machine: Guest, code: str, *, user: str = "root") -> Any:
    return lab.python(machine, HELPERS + code, user=user)
