# SPDX-License-Identifier: GPL-2.0-only
"""Boot a kernel once, run a bundle in it, and say how it ended: what a timed comparison repeats.

The guest has no disk and no network: nothing but the benchmark allocates while it runs.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from page_alloc_bench.targets.machine import Machine
from page_alloc_bench.targets.outcome import GuestEndedError, Outcome, judged
from page_alloc_bench.targets.process import TargetError, tail
from page_alloc_bench.targets.serial import OUTPUT, Returned, SerialGuest

TIMEOUT_S = 3600.0
STEAL = 0.01  # of the time; more, and a run under KVM is set aside
STARVED = 0.1  # of the time; more, and a CPU that the kernel calls locked up may only have waited
_BUNDLE = "/root/bench.run"
_SAID = f"{OUTPUT}/said"


def measure(
    bundle: Path,
    image: Path,
    release: str,
    bench_options: Sequence[str],
    machine: Machine,
    *,
    cmdline_extra: str = "",
    timeout: float = TIMEOUT_S,
) -> Outcome:
    """Boot IMAGE once on MACHINE, run BUNDLE with BENCH_OPTIONS; return what came of it.

    RELEASE is what the kernel has to say that it is. TIMEOUT is in seconds, for all of it.
    """
    guest = SerialGuest(image, machine, cmdline_extra=cmdline_extra)
    words = ["sh", _BUNDLE, "--output-path", f"{OUTPUT}/result.json", "--quiet", *bench_options]
    try:
        returned = guest.run(f"{shlex.join(words)} 2>{_SAID}\n", {_BUNDLE: bundle}, timeout=timeout)
    except GuestEndedError as error:
        return Outcome(error.end, reason=str(error), console=error.console)
    except (TargetError, OSError) as error:
        return Outcome("infra", reason=str(error))
    made = judged(returned.status, returned.files, tail(_text(returned, "said"), 5), release)
    facts = {"seconds": round(returned.seconds, 1), "steal": round(_steal(returned), 4)}
    if returned.pinned is not None:
        facts["pinned"] = returned.pinned
    made = replace(
        made, console=returned.console, log=_text(returned, "dmesg"), facts={**facts, **made.facts}
    )
    return _set_aside(made, machine, _steal(returned))


def _set_aside(made: Outcome, machine: Machine, steal: float) -> Outcome:
    """Return the outcome, or that it says nothing of the kernel, since the guest had no CPU."""
    noisy = made.end == "ok" and machine.accel == "kvm" and steal > STEAL
    locked_up = "soft lockup" in made.reason and steal > STARVED
    if not noisy and not locked_up:
        return made
    why = f"the guest waited for a CPU of this host in {steal:.1%} of its time"
    return replace(made, end="aside", reason=f"{why}; {made.reason}".rstrip("; "))


def _steal(returned: Returned) -> float:
    """Return the part of the time in which a vCPU waited for a CPU of this host."""
    return returned.starved / returned.seconds if returned.seconds else 0.0


def _text(returned: Returned, name: str) -> str:
    return returned.files.get(name, b"").decode(errors="replace")
