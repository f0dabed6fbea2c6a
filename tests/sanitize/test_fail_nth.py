# SPDX-License-Identifier: GPL-2.0-only
"""Loading the module and setting up a session, with each allocation failing in turn."""

from __future__ import annotations

import collections
import re

import pytest

import lab
from page_alloc_bench.targets.guest import Guest
from sanitize import sanitizers
from sanitize.summary import note

DEVICE = "/dev/page_alloc_bench"
MODULE = f"{lab.IN_GUEST}/page_alloc_bench.ko"
# By default allocations that may wait do not fail. Their stack traces are for the log alone: the
# serial line of a guest is slow.
SETTINGS = """
dmesg -n 1
cd /sys/kernel/debug
echo N >failslab/ignore-gfp-wait
echo N >fail_page_alloc/ignore-gfp-wait
echo N >fail_page_alloc/ignore-gfp-highmem
echo 0 >fail_page_alloc/min-order
"""
# An allocation that asks for no warning (__GFP_NOWARN) fails without one.
SILENT = "no warning"
ERRNO = {
    "failslab": "ENOMEM",
    "fail_page_alloc": "ENOMEM",
    "fail_usercopy": "EFAULT",
    SILENT: "ENOMEM",
}


@pytest.fixture(scope="module")
def failing(guest: Guest) -> Guest:
    guest.copy_to(sanitizers.program("failnth"), f"{lab.IN_GUEST}/")
    guest.run(SETTINGS)
    sanitizers.forget_old_leaks(guest)
    return guest


@pytest.mark.seconds(90)
@pytest.mark.parametrize("stage", ["insmod", "open", "configure", "start"])
@pytest.mark.attempt(
    "each allocation and copy failing in turn",
    "ENOMEM or EFAULT, or no matter; the next attempt works",
    "{stage}",
    kernel="6.12-debug",
)
def test_each_failure_is_answered_and_undone(
    failing: Guest, stage: str, request: pytest.FixtureRequest
) -> None:
    if stage != "insmod":
        failing.run(f"insmod {MODULE}")
    failing.run("dmesg --clear")
    before = sanitizers.free_bytes(failing)
    done = failing.run(f"{lab.IN_GUEST}/failnth {DEVICE} {MODULE} {stage}", check=False,
                       timeout=1800)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert sanitizers.pages_of(failing, "page_alloc_bench") == []
    if stage != "insmod":
        failing.run("rmmod page_alloc_bench")
    log = failing.dmesg()
    injected = injections(log, stage)
    answers = [line.split()[1] for line in done.stdout.splitlines()]
    assert len(answers) == len(injected) - 1  # the last attempt had too few to fail
    for number, (answer, kind) in enumerate(zip(answers, injected), start=1):
        assert answer in ("0", ERRNO[kind]), f"the {number}th, {kind}, gave {answer}"
    # It goes well where the kernel has another way, and where the sanitizers are denied memory;
    # START needs none, so that it cannot fail.
    assert ("ENOMEM" in answers) == (stage != "start")
    counts = collections.Counter(zip(injected, answers))
    words = (f"{count} {kind}: {answer}" for (kind, answer), count in sorted(counts.items()))
    note(request.config, f"fail-nth {stage}: {', '.join(words)} (0: went well without)")
    assert sanitizers.free_bytes(failing) == pytest.approx(before, rel=0.005)


@pytest.mark.seconds(60)
@pytest.mark.attempt("the same", "no report, no leak", "all stages", kernel="6.12-debug")
def test_nothing_was_leaked(failing: Guest) -> None:
    """Last of those that let something fail."""
    assert sanitizers.leaks(failing) == ""
    assert sanitizers.pages_of(failing, "page_alloc_bench") == []


def injections(log: str, stage: str) -> list[str]:
    """Return what was made to fail for each N of STAGE, and assert that no more was said."""
    _, *parts = re.split(rf"failnth: {stage} \d+\n", log)
    kinds = []
    for part in parts:
        found = re.findall(r"FAULT_INJECTION: forcing a failure\.\n.*name (\w+),", part)
        kinds.append(found[0] if found else SILENT)
    said = [line for line in sanitizers.reports(log) if "Call Trace:" not in line]
    assert said == [], log
    return kinds
