# SPDX-License-Identifier: GPL-2.0-only
"""Which runs are of one boot: they are one observation.

Figures vary from boot to boot more than from run to run, since a boot lays out the memory. Ten runs
of one boot say much about that boot and nothing about the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .interval import Array, Sample

_SAME_BOOT_S = 5.0  # by which two reckonings of one boot may differ


@dataclass(frozen=True)
class Start:
    """What a run tells of its boot; what is not known is None.

    boot_id: /proc/sys/kernel/random/boot_id. started: seconds since the epoch. uptime: seconds.
    """

    boot_id: str | None
    started: float | None
    uptime: float | None


@dataclass(frozen=True)
class Boots:
    """The boots of one side. of_run: which one each run is of, from 0 on, in order of appearance.

    guessed: they are told by when the host was booted, for some runs have no boot_id; runs of which
    that is not known either count as boots of their own. started: of the first run of each.
    """

    of_run: tuple[int, ...]
    guessed: bool
    started: tuple[float | None, ...]

    @property
    def number(self) -> int:
        """Return how many boots there are."""
        return len(self.started)

    def members(self, boot: int) -> list[int]:
        """Return the indices of the runs of a boot."""
        return [run for run, of in enumerate(self.of_run) if of == boot]


def boots(starts: Sequence[Start]) -> Boots:
    """Return which runs of a side are of one boot."""
    guessed = any(start.boot_id is None for start in starts)
    keys = _guesses(starts) if guessed else [start.boot_id for start in starts]
    numbers: dict[object, int] = {}
    of_run = tuple(numbers.setdefault(key, len(numbers)) for key in keys)
    times: list[float | None] = []
    for boot in range(len(numbers)):
        known = [s.started for s, of in zip(starts, of_run, strict=True) if of == boot]
        times.append(None if None in known else min(t for t in known if t is not None))
    return Boots(of_run, guessed, tuple(times))


def _guesses(starts: Sequence[Start]) -> list[object]:
    """Return a key of the boot of each run, by when the host was booted."""
    known = sorted(
        (start.started - start.uptime, index)
        for index, start in enumerate(starts)
        if start.started is not None and start.uptime is not None
    )
    keys: list[object] = [("unknown", index) for index in range(len(starts))]
    last, number = None, 0
    for booted, index in known:
        if last is not None and booted - last > _SAME_BOOT_S:
            number += 1
        keys[index], last = number, booted
    return keys


def averaged(low: Array, high: Array, of_run: Sequence[int]) -> Sample:
    """Return the mean of the runs of each boot as logarithms: a value a boot.

    low, high: what each run's figure is at least and at most, the last axis being that of the runs;
    not logarithms. of_run: as in Boots.
    """
    return sample(*means(low, high, of_run))


def means(low: Array, high: Array, of_run: Sequence[int]) -> tuple[Array, Array]:
    """Return the mean of the runs of each boot, in the order of the boots, as averaged() does."""
    size = np.bincount(of_run)
    if size.size == len(of_run):
        order = np.argsort(of_run)
        return low[..., order], high[..., order]
    which = np.asarray(of_run)[:, None] == np.arange(size.size)
    return low @ which / size, high @ which / size


def sample(low: Array, high: Array) -> Sample:
    """Return figures, of which is known what they are at least and at most, as logarithms."""
    with np.errstate(divide="ignore"):
        if np.array_equal(low, high):
            logs = np.log(low)
            return Sample(logs, logs)
        return Sample(np.log(low), np.log(high))
