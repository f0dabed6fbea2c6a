# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as CSV: one line per statistic, its numbers unrounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping

from .comparison import Comparison, Row


def render(comparison: Comparison) -> str:
    """Return the CSV; an unknown value is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([value(row) for value in _COLUMNS.values()] for row in comparison.rows)
    return text.getvalue()


_COLUMNS: Mapping[str, Callable[[Row], object]] = {
    "family": lambda row: row.family,
    "metric": lambda row: row.metric,
    "statistic": lambda row: row.statistic,
    "order": lambda row: row.order,
    "chosen": lambda row: row.case.choice,
    "unit": lambda row: row.unit,
    "better": lambda row: row.better,
    "base_boots": lambda row: len(row.base.values),
    "base_median": lambda row: row.base.median,
    "base_low": lambda row: row.base.low,
    "base_high": lambda row: row.base.high,
    "new_boots": lambda row: len(row.new.values),
    "new_median": lambda row: row.new.median,
    "new_low": lambda row: row.new.low,
    "new_high": lambda row: row.new.high,
    "change_percent": lambda row: row.change_percent,
    "change_low_percent": lambda row: row.change_low,
    "change_high_percent": lambda row: row.change_high,
    "p": lambda row: row.p,
    "p_corrected": lambda row: row.p_corrected,
    "verdict": lambda row: row.verdict,
    "decides": lambda row: "yes" if row.decides else "no",
    "kind": lambda row: row.kind,
    "threshold_percent": lambda row: row.threshold_percent,
    "boots_needed": lambda row: None if row.needed is None else row.needed.boots,
    "boots_needed_low": lambda row: None if row.needed is None else row.needed.low,
    "boots_needed_high": lambda row: None if row.needed is None else row.needed.high,
    "base_below": lambda row: "yes" if row.base.below else "no",
    "new_below": lambda row: "yes" if row.new.below else "no",
}
