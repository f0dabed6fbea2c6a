# SPDX-License-Identifier: GPL-2.0-only
"""A million calls of the device with whatever arguments, while everything around it changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

import lab
from page_alloc_bench.targets.guest import Guest
from sanitize import sanitizers
from sanitize.summary import note

DEVICE = "/dev/page_alloc_bench"
MODULE = f"{lab.IN_GUEST}/page_alloc_bench.ko"
THREADS = 4
STALL_S = 180
# No descriptor, or one of O_PATH: nothing gets as far as the module.
NO_FILE = {"EBADF"}
SESSION = NO_FILE | {"ok", "EFAULT"}
# Every answer that there may be; what is not here is a fault.
ANSWERS = {
    "open": {"ok", "EBUSY", "EINVAL", "ENOTDIR", "ENOENT", "ENODEV", "ENXIO", "ELOOP"},
    "INFO": SESSION,
    "CONFIGURE": SESSION | {"EINVAL", "EBADFD", "ENOMEM"},
    "START": NO_FILE | {"ok", "EBADFD"},
    "STOP": NO_FILE | {"ok", "EBADFD"},
    "WATCH_OOM": NO_FILE | {"ok", "EBADFD"},
    "PROGRESS": SESSION,
    "CPU_STATS": SESSION | {"EINVAL"},
    "LATENCY": SESSION | {"EINVAL", "EBADFD"},
    "random ioctl": NO_FILE | {"ENOTTY"},
    "32-bit ioctl": SESSION | {"EINVAL", "EBADFD", "ENOTTY"},
    "read": NO_FILE | {"EINVAL", "ESPIPE", "EFAULT"},
    "write": NO_FILE | {"EINVAL", "ESPIPE", "EFAULT"},
    "mmap": NO_FILE | {"ENODEV", "EINVAL", "EACCES", "ENOMEM", "EOVERFLOW", "EOPNOTSUPP"},
    "poll": NO_FILE | {"ok", "EPERM", "EINTR"},  # by SIGUSR1: no poll is restarted, signal(7)
    "lseek": NO_FILE | {"ESPIPE", "EINVAL"},
    "splice": NO_FILE | {"EINVAL", "ESPIPE", "EOVERFLOW"},
    "fallocate": NO_FILE | {"EINVAL", "ENODEV", "EOPNOTSUPP", "EFBIG"},
    "open without privilege": {"EPERM", "EACCES", "ENOTDIR", "EINVAL", "ENOENT", "ENODEV"},
}
# What has to have gone well at times: else the rest was not tried either.
WENT_WELL = (
    *("open", "open through /proc/self/fd", "close", "dup", "send over a socket"),
    *("INFO", "CONFIGURE", "START", "STOP", "WATCH_OOM", "PROGRESS", "CPU_STATS", "LATENCY"),
    *("32-bit ioctl", "fork", "exec", "kill", "signal", "remap memory"),
    *("CPU offline", "CPU online", "rmmod", "insmod"),
)
USED_AGAIN = """
import json
from page_alloc_bench.runner.module.device import Device
with Device() as session:
    session.configure(pattern="antagonist", parameters={"held": 100, "spread": 100}, order=2,
                      seed=1, cpus=[0, 1], time_one_in=1, sample_capacity=100)
    session.start()
    while session.progress().steady < 2:
        pass
    session.stop()
    progress = session.progress()
    print(json.dumps([progress.allocs, progress.frees]))
"""


def fuzz(guest: Guest, seed: int, operations: int) -> dict[str, Any]:
    """Run the fuzzer; return what it counted."""
    words = [f"{lab.IN_GUEST}/fuzz", DEVICE, MODULE, seed, operations, THREADS, STALL_S]
    done = guest.run([str(word) for word in words], check=False, timeout=600 + operations / 100)
    assert done.stdout, f"seed {seed}: {done.stderr}"
    counted: dict[str, Any] = json.loads(done.stdout)
    assert counted["hang"] == "", guest.dmesg()
    assert counted["breach"] == "", counted
    assert done.returncode == 0, done.stderr
    return counted


@pytest.mark.seconds(700)  # for a million operations
@pytest.mark.attempt(
    "1 000 000 calls by the fuzzer",
    "no report, no leak, no hang",
    "module loaded",
    kernel="6.12-debug",
)
def test_the_fuzzer_finds_nothing(guest: Guest, request: pytest.FixtureRequest) -> None:
    seed, operations = (request.config.getoption(name) for name in ("--seed", "--operations"))
    guest.copy_to(sanitizers.program("fuzz"), f"{lab.IN_GUEST}/")
    guest.run(f"insmod {MODULE}")
    fuzz(guest, seed, 5000)  # what the kernel keeps once it has been asked is there then
    sanitizers.forget_old_leaks(guest)
    before = sanitizers.free_bytes(guest)

    counted = fuzz(guest, seed, operations)
    counts = counted["counts"]
    tell(request.config, counted)
    assert counted["operations"] >= operations
    strange = {name: set(counts[name]) - allowed for name, allowed in ANSWERS.items()}
    assert {name: answers for name, answers in strange.items() if answers} == {}
    if operations >= 100_000:
        assert [name for name in WENT_WELL if not counts[name].get("ok")] == []

    log = guest.dmesg()
    sanitizers.assert_all_is_quiet(guest)
    assert "Out of memory" not in log
    assert sanitizers.leaks(guest) == ""
    assert sanitizers.pages_of(guest, "page_alloc_bench") == []
    assert sanitizers.free_bytes(guest) == pytest.approx(before, rel=0.005)
    allocs, frees = lab.python(guest, USED_AGAIN)
    assert allocs == frees > 200
    guest.run("rmmod page_alloc_bench")
    assert guest.run("ls /dev | grep page_alloc || true").stdout == ""
    sanitizers.assert_all_is_quiet(guest)


def tell(config: pytest.Config, counted: dict[str, Any]) -> None:
    """Have the counts in the summary."""
    rate = counted["operations"] / counted["seconds"]
    note(config, f"fuzzer: seed {counted['seed']}, {counted['operations']} operations in "
                 f"{counted['seconds']:.0f} s ({rate:.0f}/s), {counted['processes']} processes of "
                 f"up to {counted['threads']} threads")  # fmt: skip
    for name, answers in counted["counts"].items():
        words = (f"{count} {answer}" for answer, count in sorted(answers.items()))
        note(config, f"  {name}: {', '.join(words)}")
