# SPDX-License-Identifier: GPL-2.0-only
"""What one boot of a comparison by time is called, by what the guest sent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from page_alloc_bench.targets import timed
from page_alloc_bench.targets.machine import Machine, machine
from page_alloc_bench.targets.outcome import GuestEndedError, Outcome
from page_alloc_bench.targets.process import TargetError
from page_alloc_bench.targets.serial import Returned

RELEASE = "6.1.0-test"
NAME = "page-alloc-bench"  # which the messages of the benchmark begin with
DOCUMENT = {"run": {"complete": True, "kernel": {"release": RELEASE}}}
LOADED = "[ 2.0] page_alloc_bench: loading out-of-tree module taints kernel.\n"
TCG, KVM = machine(2, 1, "1G"), machine(2, 1, "1G", accel="kvm")


def sent(
    status: int = 0, document: Any = DOCUMENT, dmesg: str = LOADED, said: str = ""
) -> Returned:
    files = {"dmesg": dmesg.encode(), "said": said.encode()}
    if document is not None:
        files["result.json"] = json.dumps(document).encode()
    return Returned(status, files, "the console", 100.0, 0.5)


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what a guest that behaves so is called."""

    def measured(behaviour: Returned | Exception, size: Machine = TCG) -> Outcome:
        class Guest:
            def __init__(self, *_: object, **__: object) -> None:
                pass

            def run(self, *_: object, **__: object) -> Returned:
                if isinstance(behaviour, Exception):
                    raise behaviour
                return behaviour

        monkeypatch.setattr(timed, "SerialGuest", Guest)
        return timed.measure(Path("b"), Path("i"), RELEASE, [], size)

    return measured


def test_a_whole_healthy_run_is_ok_and_keeps_console_log_and_steal(boot: Any) -> None:
    made = boot(sent())
    assert (made.end, made.document, made.console, made.log) == (
        "ok", DOCUMENT, "the console", LOADED,
    )  # fmt: skip
    assert made.facts == {"seconds": 100.0, "steal": 0.005}


@pytest.mark.parametrize(
    ("returned", "end", "reason"),
    [
        (sent(3, None, said=f"{NAME}: a note\n{NAME}: error: too little\n{NAME}: error: no swap"),
         "refused", "too little\nno swap"),
        (sent(2, None, said=f"{NAME}: error: no such option"), "refused", "no such option"),
        (sent(1), "run-failed", "exit status 1"),
        (sent(124), "run-failed", "exit status 124"),
        (sent(0, None), "run-failed", "exit status 0"),
        (sent(0, {"run": {**DOCUMENT["run"], "complete": False}}), "run-failed", ""),
        (sent(dmesg=LOADED + "[ 3.0] BUG: bad page\n"), "oops-in-run", "BUG: bad page"),
        (sent(dmesg="[ 1.0] Oops: 0002\n" + LOADED), "oops-at-boot", "Oops: 0002"),
        (sent(0, {"run": {"complete": True, "kernel": {"release": "6.2"}}}), "wrong-kernel",
         f"6.2 booted, not {RELEASE}"),
        (GuestEndedError("panicked", "panic", "its console"), "panic", "panicked"),
        (GuestEndedError("late", "hang-in-run", ""), "hang-in-run", "late"),
        (TargetError("no room"), "infra", "no room"),
        (OSError("no room"), "infra", "no room"),
    ],
)  # fmt: skip
def test_each_way_to_end_has_a_name(
    boot: Any, returned: Returned | Exception, end: str, reason: str
) -> None:
    made = boot(returned)
    assert made.end == end
    assert reason in made.reason


def test_on_hardware_a_run_that_waited_for_cpus_is_set_aside_with_its_result(boot: Any) -> None:
    waited = replace(sent(), starved=2.0)
    assert boot(waited, TCG).end == "ok"
    made = boot(waited, KVM)
    assert (made.end, made.document) == ("aside", DOCUMENT)
    assert "2.0%" in made.reason
    assert boot(sent(), KVM).end == "ok"


def test_a_lockup_of_a_guest_that_had_no_cpu_says_nothing_of_its_kernel(boot: Any) -> None:
    locked = sent(dmesg=LOADED + "[ 9.0] watchdog: BUG: soft lockup - CPU#0 stuck for 67s!\n")
    assert boot(locked).end == "oops-in-run"
    made = boot(replace(locked, starved=40.0))
    assert made.end == "aside"
    assert "40.0%" in made.reason
    assert "soft lockup" in made.reason
    oops = sent(dmesg=LOADED + "[ 9.0] BUG: kernel NULL pointer dereference\n")
    assert boot(replace(oops, starved=40.0)).end == "oops-in-run"
