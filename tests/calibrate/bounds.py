# SPDX-License-Identifier: GPL-2.0-only
"""What no stop rule can surpass: the power of one test, after all boots, that spends all the error.

One figure of several is worse by 2 sd, and the noise is normal. Of a family of figures the first
step of Holm's method is that of Bonferroni: the error is divided by their number, and by two, for
better and worse.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats

from calibrate.campaigns import ALPHA
from page_alloc_bench.analysis.verdict.interval import ways_of

CHANGE = 2.0  # standard deviations from boot to boot
BOOTS = (8, 10, 12, 14, 16)
FIGURES = (1, 6, 12, 16)
_DRAWS, _AT_ONCE = 200_000, 20_000


def ranks(boots: int, figures: int, seed: int = 1) -> float:
    """Return the power of the U test with so many boots a side, as it is used here."""
    ways = np.cumsum(ways_of(boots, boots)) / np.sum(ways_of(boots, boots))
    bound = int(np.searchsorted(ways, _error(figures), side="right")) - 1
    rng = np.random.default_rng([seed, boots])
    found = 0
    for _ in range(_DRAWS // _AT_ONCE):
        base, new = rng.normal(size=(2, _AT_ONCE, boots))
        u = np.count_nonzero(base[:, :, None] > new[:, None, :] + CHANGE, axis=(1, 2))
        found += int(np.count_nonzero(u <= bound))
    return found / _DRAWS


def student(boots: int, figures: int) -> float:
    """Return that of Student's test, which needs normal noise of the same spread on both sides."""
    freedom = 2 * boots - 2
    bound = stats.t.isf(_error(figures), freedom)
    return float(stats.nct.sf(bound, freedom, CHANGE * np.sqrt(boots / 2)))


def _error(figures: int) -> float:
    return ALPHA / figures / 2


def lines() -> Iterator[str]:
    """Yield the rows of the table, in percent."""
    for figures in FIGURES:
        for name, power in (("U", ranks), ("Student's", student)):
            cells = [f"{100 * power(boots, figures):.1f}" for boots in BOOTS]
            yield f"| {figures} | {name} | {' | '.join(cells)} |"


def table(rows: list[str]) -> str:
    """Return the whole table."""
    heads = ["figures", "test", *(f"{boots} boots" for boots in BOOTS)]
    about = f"Percent of one look, where one figure is worse by {CHANGE:g} sd."
    rule = "| ---: | --- |" + " ---: |" * len(BOOTS)
    return "\n".join([about, "", f"| {' | '.join(heads)} |", rule, *rows])
