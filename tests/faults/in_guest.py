# SPDX-License-Identifier: GPL-2.0-only
"""What is seen and done on the machine that this runs on, a guest. It travels with provoke.py."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time

CLEAN_S = 60.0
BACK_SHARE = 0.995
LAST_CPU = max(os.sched_getaffinity(0))
PLACES = ("/dev/shm", "/var/tmp", "/tmp", "/run", "/root")


def read(path: str) -> str:
    """Return the text of a file in /proc, "" where there is none any more."""
    try:
        with open(path) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def write(path: str, text: object) -> None:
    with open(path, "w") as file:
        file.write(str(text))


def processes() -> dict[int, str]:
    """Return the name of each process that belongs to a run."""
    found = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        name = read(f"/proc/{pid}/comm").strip()
        words = read(f"/proc/{pid}/cmdline").split("\0")
        ours = any(word.endswith("bench.run") for word in words) and words[0] != "ssh"
        if (ours or name.startswith(("pab-", "pab/"))) and pid != os.getpid():
            found[pid] = name
    return found


def named(name: str) -> list[int]:
    return [pid for pid, each in processes().items() if each == name]


def loaded() -> bool:
    return "page_alloc_bench " in read("/proc/modules")


def traces() -> list[object]:
    """Return all that a run could leave: files, module, device, processes."""
    return [
        sorted(f"{place}/{name}" for place in PLACES for name in os.listdir(place)),
        loaded(),
        os.path.exists("/dev/page_alloc_bench"),
        sorted(processes().values()),
    ]


def free_bytes() -> int:
    """Return what is free once nothing is cached, with the lists that each CPU keeps.

    A CPU that was offline has no slabs of its own at first; all have to be as empty.
    """
    write("/proc/sys/vm/drop_caches", 3)
    for slab in os.scandir("/sys/kernel/slab"):
        with contextlib.suppress(OSError):  # a cache that has just gone, or is not to be shrunk
            write(f"{slab.path}/shrink", 1)
    free = re.search(r"MemFree: +(\d+)", read("/proc/meminfo"))
    assert free
    on_cpu_lists = map(int, re.findall(r"^ +count: (\d+)", read("/proc/zoneinfo"), re.M))
    return int(free[1]) * 1024 + sum(on_cpu_lists) * os.sysconf("SC_PAGE_SIZE")


def set_online(cpu: int, online: int) -> None:
    write(f"/sys/devices/system/cpu/cpu{cpu}/online", online)


def say(*words: str) -> list[object]:
    """Run a command; return its exit code and what it wrote to stdout and stderr."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return [done.returncode, done.stdout, done.stderr]


def kernel_log() -> list[str]:
    return str(say("dmesg")[1]).splitlines()


def spare_the_kernel() -> None:
    """Let the kernel's own threads of the last CPU run in spite of a hog: RCU would complain."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        name = read(f"/proc/{pid}/comm").strip()
        if re.fullmatch(
            rf"rcu_(preempt|sched)|(ksoftirqd|rcuc)/{LAST_CPU}|kworker/{LAST_CPU}:.*", name
        ):
            os.sched_setscheduler(int(pid), os.SCHED_FIFO, os.sched_param(2))


def make_hog() -> subprocess.Popen[bytes]:
    """Return a stopped process that takes the last CPU for itself as soon as it goes on."""
    spin = (
        f"import os, signal; os.sched_setaffinity(0, {{{LAST_CPU}}})\n"
        "open('/proc/self/oom_score_adj', 'w').write('-1000')\n"
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\nwhile True: pass"
    )
    hog = subprocess.Popen([sys.executable, "-c", spin])
    os.waitid(os.P_PID, hog.pid, os.WSTOPPED)
    return hog


def await_clean(before: list[object], free: int) -> list[object]:
    """Return what differs from before, and what share of the free memory is back, in the end.

    What has been lost does not come back however long one waits.
    """
    deadline = time.monotonic() + CLEAN_S
    while time.monotonic() < deadline:
        after, back = traces(), free_bytes() / free
        if after == before and back >= BACK_SHARE:
            break
        time.sleep(0.2)
    return [[was, now] for was, now in zip(before, after) if was != now], back
