# SPDX-License-Identifier: GPL-2.0-only
"""What makes a comparison weaker than its figures look."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import numpy as np

from .by_host import ByHost
from .comparison import Row
from .instructions import counted
from .observed import Observed
from .results import Result
from .verdict import order

_NOTABLE = 0.5  # rank correlation with time
_SAME_LISTS = 0.25  # of the pages that the list of a CPU holds
_OFTEN = 0.5  # part of the figures


def cautions(
    base: Sequence[Result],
    new: Sequence[Result],
    observed: Observed,
    rows: Sequence[Row],
    *,
    accepted: bool,
) -> list[str]:
    """Return what to know of the runs, a sentence without a full stop each.

    accepted: a verdict is wanted though one side was measured before the other.
    """
    if counted.is_counted(base[0]):
        return [*counted.cautions(base, new), *_lists(base, new), *_warnings((*base, *new))]
    if isinstance(observed, ByHost):
        return [
            *_alone(observed.alone),
            *_order(observed, accepted=accepted),
            *_lists(base, new),
            *emulation((*base, *new)),
            *_warnings((*base, *new)),
        ]
    return [
        *_boots(observed, (len(base), len(new))),
        *_order(observed, accepted=accepted),
        *_drift(observed, rows),
        *_first(observed, rows),
        *_lists(base, new),
        *emulation((*base, *new)),
        *_warnings((*base, *new)),
    ]


def _boots(observed: Observed, runs: tuple[int, int]) -> Iterator[str]:
    """Say if runs share a boot, and if that is a guess."""
    for name, boots, number in zip(("base", "new"), observed.boots, runs, strict=True):
        if boots.number < number:
            yield (
                f"the {number} runs of {name} are of {boots.number} boot(s): runs of one boot count"
                " as one"
            )
    if any(boots.guessed for boots in observed.boots):
        yield (
            "some results do not say of which boot they are: boots are guessed by the clock and the"
            " uptime"
        )


def _alone(names: Sequence[str]) -> Iterator[str]:
    """Say which hosts measured one side only."""
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"left out, for one side only is there of them: hosts {', '.join(names[:3])}{more}"


def _order(observed: Observed, *, accepted: bool) -> Iterator[str]:
    together = observed.together()
    if together is None and min(boots.number for boots in observed.boots) > 1:
        yield "not all results say when they were made: a drift of the host cannot be seen"
    elif order.confounded(together) and accepted:
        yield "one side was measured before the other: what drifts in a host looks like a change"


def _drift(observed: Observed, rows: Sequence[Row]) -> Iterator[str]:
    """Say what drifts within both sides alike."""
    times = observed.times()
    if any(time is None for side in times for time in side):
        return
    drifting = []
    for row in rows:
        values = row.base.values, row.new.values
        if not row.decides or [len(v) for v in values] != [len(t) for t in times]:
            continue
        trends = [
            order.trend(np.array(v), np.array(t, float)) for v, t in zip(values, times, strict=True)
        ]
        known = [trend for trend in trends if trend is not None]
        if len(known) == 2 and min(map(abs, known)) >= _NOTABLE and known[0] * known[1] > 0:
            drifting.append(row)
    deciding = [row for row in rows if row.decides]
    if drifting and len(drifting) >= _OFTEN * len(deciding):
        yield (
            f"{len(drifting)} of {len(deciding)} figures drift over time on both sides: the host "
            "changed while it was measured"
        )


def _first(observed: Observed, rows: Sequence[Row]) -> Iterator[str]:
    """Say if the first boot of a side is the odd one in most figures."""
    deciding = [row for row in rows if row.decides]
    for name, which in (("base", 0), ("new", 1)):
        times = observed.boots[which].started
        if None in times or not deciding:
            continue
        odd = 0
        for row in deciding:
            values = np.array((row.base, row.new)[which].values)
            if values.size == len(times):
                odd += order.first_is_odd(values, np.array(times, float))
        if odd > _OFTEN * len(deciding):
            yield (
                f"the first boot of {name} is the farthest from the others in {odd} of "
                f"{len(deciding)} figures: boot once before you measure"
            )


def _lists(base: Sequence[Result], new: Sequence[Result]) -> Iterator[str]:
    """Say if the lists of the CPUs hold another amount: then other paths were measured."""
    sides = [_high_pages(base), _high_pages(new)]
    for zone in sorted(sides[0].keys() & sides[1].keys()):
        before, after = (statistics.median(side[zone]) for side in sides)
        if abs(after - before) > _SAME_LISTS * min(before, after):
            yield (
                f"the list of a CPU holds {before:,.0f} pages of {zone} in base and {after:,.0f} in"
                " new (run.pcp): the same number of blocks takes other paths"
            )


def _high_pages(side: Sequence[Result]) -> dict[str, list[int]]:
    """Return the most pages on the list of a CPU, of each zone, before each run measured."""
    found: dict[str, list[int]] = {}
    for result in side:
        first = next(iter(result.run.get("pcp", ())), {"zones": ()})
        for zone in first["zones"]:
            if zone.get("high"):
                found.setdefault(zone["zone"], []).append(max(map(int, zone["high"])))
    return found


def emulation(results: Sequence[Result]) -> list[str]:
    """Return what to know of runs on CPUs that software emulated; nothing of others."""
    if any("TCG" in (result.run["machine"].get("cpu_model") or "") for result in results):
        return ["the CPUs were emulated: times tell nothing of real hardware"]
    return []


def _warnings(results: Sequence[Result]) -> Iterator[str]:
    noted = [result.run["warnings"] for result in results if result.run["warnings"]]
    if noted:
        yield f"{len(noted)} run(s) have warnings of their own, such as: {noted[0][0]}"
