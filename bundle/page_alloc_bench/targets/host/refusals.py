# SPDX-License-Identifier: GPL-2.0-only
"""Why a host is not restarted for a measurement."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from page_alloc_bench.targets.host.facts import Facts, HostKernel
from page_alloc_bench.targets.host.method import Method, Refusal
from page_alloc_bench.targets.process import UsageError

_BUSY = 0.5  # load per CPU
NAMES = ("users", "load", "run")  # what can be accepted


def check(accepted: Collection[str]) -> None:
    """Raise UsageError where something is ACCEPTED that cannot be."""
    unknown = sorted(set(accepted) - set(NAMES))
    if unknown:
        raise UsageError(f"--accept: {unknown[0]!r} is not one of {', '.join(NAMES)}")


def require(
    host: str,
    facts: Facts,
    method: Method,
    kernels: Sequence[HostKernel],
    accepted: Collection[str],
) -> None:
    """Raise UsageError, with all reasons, where the host is not to be restarted."""
    check(accepted)
    found = [*_of_host(facts), *method.refusals(facts, kernels)]
    left = [each for each in found if not each.name or each.name not in accepted]
    if left:
        lines = "".join(f"\n  {each.found}: {_advice(each)}" for each in left)
        raise UsageError(f"{host} is not restarted:{lines}")


def _advice(refusal: Refusal) -> str:
    return f"{refusal.advice}; or --accept {refusal.name}" if refusal.name else refusal.advice


def _of_host(facts: Facts) -> Iterator[Refusal]:
    if facts["users"]:
        yield Refusal(
            f"others are logged in there ({facts['users']})", "wait until they are gone", "users"
        )
    load = float(facts["load"] or 0)
    if load > max(1.0, _BUSY * int(facts["cpus"] or 1)):
        yield Refusal(f"it is in use: its load is {load:g}", "wait until it is idle", "load")
    if facts["running"]:
        yield Refusal(
            "the module of a run is loaded there", "wait for its end: bench.run --status", "run"
        )
    if "ro" in facts["root_options"].split(","):
        yield Refusal("its root is mounted read-only", "have its file system checked")
    if facts["root_errors"] not in ("", "0"):
        yield Refusal(
            f"its root has {facts['root_errors']} errors of ext4", "run e2fsck on it first"
        )
    if facts["run_is"] != "tmpfs":
        yield Refusal(
            f"its /run is on {facts['run_is'] or 'its root'}: what is put there would stay",
            "mount a tmpfs on /run",
        )
    if not facts["restart"]:
        yield Refusal("it has neither systemctl nor reboot", "install systemd-sysv or another init")
    if facts["secure_boot"] == "1":
        yield Refusal(
            "Secure Boot is on there", "turn it off in the firmware: it takes no kernel of yours"
        )
    if facts["lockdown"] not in ("", "none"):
        yield Refusal(
            f"its kernel is locked down ({facts['lockdown']})", "boot it without lockdown="
        )
