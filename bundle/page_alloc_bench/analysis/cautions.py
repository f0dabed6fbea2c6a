# SPDX-License-Identifier: GPL-2.0-only
"""What makes a comparison weaker than its figures look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from .results import Result

_SAME_BOOT_S = 5.0  # by which two reckonings of one boot may differ


def cautions(base: Sequence[Result], new: Sequence[Result]) -> list[str]:
    """Return what to know of the runs, a sentence without a full stop each."""
    return [
        *_boots("base", base),
        *_boots("new", new),
        *_turns(base, new),
        *_emulation((*base, *new)),
        *_warnings((*base, *new)),
    ]


def _boots(name: str, side: Sequence[Result]) -> Iterator[str]:
    """Say if runs share a boot: figures vary from boot to boot more than from run to run."""
    boots = sorted(boot for result in side if (boot := _boot(result)) is not None)
    if len(boots) < len(side) or len(side) < 2:
        return
    distinct = 1 + sum(b - a > _SAME_BOOT_S for a, b in zip(boots, boots[1:], strict=False))
    if distinct < len(boots):
        yield (
            f"the {len(boots)} runs of {name} are of {distinct} boot(s): runs of one boot are more"
            " alike than boots are, and a verdict may be too sure"
        )


def _boot(result: Result) -> float | None:
    """Return when the host was booted, in seconds since the epoch."""
    started, uptime = _started(result), result.run["machine"].get("uptime_s")
    return None if started is None or uptime is None else started - uptime


def _started(result: Result) -> float | None:
    try:
        return datetime.fromisoformat(result.run["started_at"].replace("Z", "+00:00")).timestamp()
    except (KeyError, ValueError):
        return None


def _turns(base: Sequence[Result], new: Sequence[Result]) -> Iterator[str]:
    """Say if one side was run before the other: what drifts looks like a change."""
    sides = [[_started(result) for result in side] for side in (base, new)]
    if any(time is None for side in sides for time in side) or min(len(base), len(new)) < 2:
        return
    (first, last), (begin, end) = (
        (min(filter(None, side)), max(filter(None, side))) for side in sides
    )
    if last < begin or end < first:
        yield "one side was run before the other: what drifts in a host looks like a change"


def _emulation(results: Sequence[Result]) -> Iterator[str]:
    if any("TCG" in (result.run["machine"].get("cpu_model") or "") for result in results):
        yield "the CPUs were emulated: times tell nothing of real hardware"


def _warnings(results: Sequence[Result]) -> Iterator[str]:
    noted = [result.run["warnings"] for result in results if result.run["warnings"]]
    if noted:
        yield f"{len(noted)} run(s) have warnings of their own, such as: {noted[0][0]}"
