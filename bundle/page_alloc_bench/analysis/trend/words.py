# SPDX-License-Identifier: GPL-2.0-only
"""What a trend says: as sentences, as Markdown, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from page_alloc_bench.analysis import notation
from page_alloc_bench.analysis.comparison import describe
from page_alloc_bench.runner.result import columns

from .changes import Change, Trend

HEAD = ("changed at", "machine", "figure", "change", "95 % interval", "p", "other causes")


def sentences(every: Sequence[Trend]) -> list[str]:
    """Return what is to be known first."""
    worse = [trend for trend in every if trend.newest_is_worse]
    changes = sum(len(trend.changes) for trend in every)
    newest = sorted({trend.series.points[-1].name for trend in worse})
    if worse:
        figures = f"{len(worse)} figure{'s' if len(worse) > 1 else ''}"
        first = f"{', '.join(newest)} is worse than what came before, in {figures}."
    else:
        first = "The newest kernel is not shown to be worse than what came before."
    kernels = max((len(trend.series.points) for trend in every), default=0)
    return [
        first,
        f"{changes} confirmed change{'' if changes == 1 else 's'} in {len(every)} series of up to "
        f"{kernels} kernels. A change is confirmed by the boots on both of its sides (U test, "
        "Holm's correction for all series).",
    ]


def rows(every: Sequence[Trend]) -> list[tuple[str, ...]]:
    """Return a row of HEAD for each change, the worst of the newest first."""
    found = [(trend, change) for trend in every for change in trend.changes]
    found.sort(key=lambda pair: (not pair[1].worse, -pair[1].at, -abs(pair[1].percent)))
    return [_row(trend, change) for trend, change in found]


def _row(trend: Trend, change: Change) -> tuple[str, ...]:
    return (
        change.point,
        trend.series.machine,
        describe(trend.series.statistic),
        size_of(change),
        notation.interval(change.percent, change.low, change.high),
        f"{change.p_corrected:.2g}",
        ", ".join(change.rivals) or "none known",
    )


def size_of(change: Change) -> str:
    """Return how large a change is, and whether for the worse."""
    size = notation.change(change.percent, change.low, change.high)
    return f"{size} {'worse' if change.worse else 'better'}"


def markdown(every: Sequence[Trend]) -> str:
    """Return the sentences and the table of changes as Markdown."""
    lines = [*(f"{sentence}\n" for sentence in sentences(every))]
    found = rows(every)
    if found:
        lines.append(f"| {' | '.join(HEAD)} |")
        lines.append(f"|{' --- |' * len(HEAD)}")
        lines += [
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in found
        ]
    return "\n".join(lines).rstrip() + "\n"


def plain(every: Sequence[Trend], width: int) -> str:
    """Return the same for a terminal of so many columns: a paragraph a change."""
    lines = [line for text in sentences(every) for line in columns.wrap(text, width)]
    for at, machine, figure, size, interval, p, causes in rows(every):
        lines += ["", *columns.wrap(f"{at}, {machine}: {figure} {size}", width, "  ")]
        more = f"95 % interval {interval}, p {p}, other causes: {causes}"
        lines += columns.wrap(more, width, "    ", first="  ")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def document(every: Sequence[Trend]) -> str:
    """Return everything as JSON."""
    told = {
        "newest_is_worse": any(trend.newest_is_worse for trend in every),
        "sentences": sentences(every),
        "series": [_series(trend) for trend in every],
    }
    return json.dumps(told, indent=1) + "\n"


def _series(trend: Trend) -> dict[str, Any]:
    of = trend.series.statistic
    return {
        "machine": trend.series.machine,
        "metric": of.metric,
        "statistic": of.statistic,
        "case": str(of.case),
        "unit": of.unit,
        "better": of.better,
        "points": [
            {"kernel": point.name, "boots": point.boots.tolist()} for point in trend.series.points
        ],
        "changes": [
            {
                "kernel": change.point,
                "place": change.at,
                "before": change.before,
                "after": change.after,
                "percent": change.percent,
                "low": change.low,
                "high": change.high,
                "p": change.p,
                "p_corrected": change.p_corrected,
                "worse": change.worse,
                "other_causes": list(change.rivals),
            }
            for change in trend.changes
        ],
        "newest_is_worse": trend.newest_is_worse,
    }
