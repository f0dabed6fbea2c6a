# SPDX-License-Identifier: GPL-2.0-only
"""How long a run takes: estimated before it from a probe, and again from what it has measured.

A run is its phases (steps()), and nearly all of its time is fills of the memory, if it has any.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from page_alloc_bench.runner import workload
from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.options import Options
from page_alloc_bench.runner.result import units

from .findlimit import probe

_END = 1.1  # the last of the memory comes slower: reclaim, and the OOM killer
_AROUND_S = 0.15  # of a fill: the child's start, the kernel's log, two looks at free memory
_MOST_COLD = 3.0  # more is noise
_LIVE = 0.15  # of a fill: from here on its own speed tells something
_WEIGHT = 0.5  # of the last fill among those before it
_LAST_PART = 0.05
_NONE, _MOST = "no memory is filled", "no process fills memory until it is killed"


@dataclass(frozen=True)
class Step:
    """A phase of an order. fills: how many; 0 where it is something else.

    each_s: of a fill, or of the whole. first_s: how much longer the first takes.
    """

    phase: str
    order: int
    fills: int
    each_s: float
    first_s: float = 0.0

    @property
    def all_s(self) -> float:
        """Return how long the phase takes."""
        return self.each_s * max(self.fills, 1) + self.first_s


def steps(options: Options, record: dict[str, Any]) -> list[Step]:
    """Return what the run does, with its times; relative ones where the record has none."""
    seen = record["probe"]
    size = record["fill_bytes"]
    fill_s, first_s, around_s = 1.0, 0.0, 0.0
    if seen is not None:
        fill_s = size / seen["bytes_per_second"] * _END
        first_s = max(0.0, size / seen["first_bytes_per_second"] * _END - fill_s)
        first_s = min(first_s, (_MOST_COLD - 1) * fill_s) if record["cold"] else 0.0
        around_s = _AROUND_S
    found = []
    planned = ((each, *phase) for each in workload.chosen(options) for phase in each.plan(options))
    for each, phase, order in planned:
        if phase not in each.fills:
            other_s = each.seconds_of(options, order).get(phase, 0.0)
            found.append(Step(phase, order, 0, other_s))
            continue
        each_s = fill_s * each.fills[phase][1] + around_s
        found.append(Step(phase, order, each.fills_of(options, phase), each_s, first_s))
        first_s = 0.0
    return found


def make(options: Options, cpus: Sequence[int]) -> dict[str, Any]:
    """Return an estimate as run.estimate has it, from a probe. Takes two seconds at most."""
    size = probe.available_bytes()
    swap = 0 if options.no_swap else procfs.meminfo().get("SwapFree", 0)
    record: dict[str, Any] = {
        "estimated_s": None,
        "actual_s": None,
        "fills": workload.fills(options),
        "fill_bytes": size,
        "swap_bytes": swap,
        # Whoever was out of memory has touched all of it.
        "cold": not procfs.vmstat().get("oom_kill", 0),
        "probe": None,
        "reason": None,
    }
    if not record["fills"]:
        most = any(each.checks is None for each in workload.chosen(options))
        record["reason"] = _MOST if most else _NONE
        record["estimated_s"] = round(sum(step.all_s for step in steps(options, record)), 1) or None
        return record
    try:
        speed = probe.measure(cpus, options.thp, no_swap=options.no_swap)
    except (RunnerError, OSError) as error:
        record["reason"] = str(error)
        return record
    record["probe"] = {
        "bytes": speed.probe_bytes,
        "fills": speed.lives,
        "duration_s": round(speed.duration_s, 3),
        "first_bytes_per_second": round(1 / speed.first),
        "bytes_per_second": round(1 / speed.later),
    }
    record["estimated_s"] = round(sum(step.all_s for step in steps(options, record)), 1)
    return record


def line(record: dict[str, Any]) -> str:
    """Return an estimate in one line of text."""
    if not record["fills"]:
        known = record["estimated_s"]
        about = "" if known is None else f" takes about {duration(known)}, and"
        return f"the run{about} " + (
            "uses most of the memory" if record["reason"] == _MOST else "fills no memory"
        )
    fills = f"{record['fills']} fills of {units.size(record['fill_bytes'])}"
    if record["estimated_s"] is None:
        return f"how long {fills} take is not known: {record['reason']}"
    rate = units.size(record["probe"]["bytes_per_second"])
    swap = ", and swap, not counted" if record["swap_bytes"] else ""
    return f"the run takes about {duration(record['estimated_s'])}: {fills} at {rate}/s{swap}"


def outcome(record: dict[str, Any]) -> str:
    """Return how far the estimate was off, "" where that is not known."""
    actual, estimated = record["actual_s"], record["estimated_s"]
    if actual is None:
        return ""
    took = f"measuring took {duration(actual)}"
    if estimated is None:
        return took
    return f"{took}; {duration(estimated)} were estimated ({actual / estimated - 1:+.0%})"


def lost(options: Options, record: dict[str, Any]) -> list[str]:
    """Return what is not whole by --timeout-s if the estimate is right, such as "order 4, idle"."""
    end, missing = 0.0, []
    for step in steps(options, record):
        end += step.all_s
        if step.fills and end > options.timeout_s:
            missing.append(f"order {step.order}, {step.phase}")
    return missing


class Forecast:
    """How far a run is, and how long it has yet to go.

    What has been measured takes the place of what was estimated: the last fills of the same phase
    and order, or else of the same phase, or else of any.
    """

    def __init__(
        self,
        options: Options,
        record: dict[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps = steps(options, record)
        self._known = record["estimated_s"] is not None
        self._fill_bytes = record["fill_bytes"]
        self._clock = clock
        self._index = -1
        self._fills = 0  # that are over in this phase
        self._began = clock()  # the phase, or the fill
        self._ratios: dict[tuple[str, int], float] = {}  # measured / estimated; the last comes last
        self.part: float | None = None  # of the memory, in this fill

    @property
    def number(self) -> int:
        """Return which phase it is, from 1."""
        return self._index + 1

    @property
    def count(self) -> int:
        """Return how many phases there are."""
        return len(self._steps)

    def begin(self, phase: str, order: int) -> None:
        """Note that a phase begins."""
        places = [
            i for i, step in enumerate(self._steps) if (step.phase, step.order) == (phase, order)
        ]
        self._index = places[0]
        self._fills, self._began, self.part = 0, self._clock(), None

    def filling(self, size_bytes: int) -> None:
        """Note how much memory the child has."""
        if not size_bytes:
            self._began = self._clock()
        self.part = min(1.0, size_bytes / max(self._fill_bytes, 1))

    def filled(self) -> None:
        """Note the end of a fill."""
        step = self._steps[self._index]
        ratio = (self._clock() - self._began) / self._fill_s(step, self._fills)
        key = (step.phase, step.order)
        before = self._ratios.pop(key, ratio)
        self._ratios[key] = before + _WEIGHT * (ratio - before)
        self._fills += 1
        self._began, self.part = self._clock(), None

    def left_s(self) -> float | None:
        """Return how long the run has yet to go, in s; None while nobody knows."""
        if self._index < 0:
            return sum(step.all_s for step in self._steps) if self._known else None
        step = self._steps[self._index]
        ratios = [self._ratio(later) for later in self._steps[self._index :]]
        if ratios[0] is None:
            return None
        return self._rest_s(step, ratios[0]) + sum(
            later.all_s * (ratio or 1.0 if later.fills else 1.0)
            for later, ratio in zip(self._steps[self._index + 1 :], ratios[1:])
        )

    def _rest_s(self, step: Step, ratio: float) -> float:
        """Return what is left of this phase."""
        if not step.fills:
            return max(0.0, step.each_s - (self._clock() - self._began))
        if self._fills == step.fills:
            return 0.0
        now = self._fill_s(step, self._fills) * ratio
        rest = now if self.part is None else now * max(1 - self.part, _LAST_PART)
        return rest + (step.fills - self._fills - 1) * step.each_s * ratio

    def _fill_s(self, step: Step, number: int) -> float:
        return step.each_s + (step.first_s if number == 0 else 0.0)

    def _ratio(self, step: Step) -> float | None:
        """Return by how much the fills of a phase take longer than estimated."""
        ratios = self._ratios
        own = ratios.get((step.phase, step.order))
        if own is not None:
            return own
        same = [ratio for (phase, _), ratio in ratios.items() if phase == step.phase]
        if same:
            return same[-1]
        live = self._live()
        if live is not None:
            return live
        return list(ratios.values())[-1] if ratios else (1.0 if self._known else None)

    def _live(self) -> float | None:
        """Return the same of the fill that goes on, once that tells something."""
        if self.part is None or self.part < _LIVE:
            return None
        step = self._steps[self._index]
        whole_s = (self._clock() - self._began) / self.part
        return whole_s / self._fill_s(step, self._fills)


def duration(seconds: float) -> str:
    """Return a time as people say it, such as "80 s", "3 min 20 s" or "5 h 10 min"."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes} min {rest} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours:,} h {rest} min"
