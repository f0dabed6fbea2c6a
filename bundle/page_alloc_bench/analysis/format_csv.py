# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as CSV: one line per statistic, its numbers unrounded."""

from __future__ import annotations

import csv
import io

from .comparison import Comparison, Row


def render(comparison: Comparison) -> str:
    """Return the CSV; an unknown value is an empty field."""
    text = io.StringIO()
    records = [_record(row) for row in comparison.rows]
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _record(row: Row) -> dict[str, object]:
    return {
        "family": row.family,
        "metric": row.metric,
        "statistic": row.statistic,
        "order": row.order,
        "chosen": row.case.choice,
        "unit": row.unit,
        "better": row.better,
        "base_boots": len(row.base.values),
        "base_median": row.base.median,
        "base_low": row.base.low,
        "base_high": row.base.high,
        "new_boots": len(row.new.values),
        "new_median": row.new.median,
        "new_low": row.new.low,
        "new_high": row.new.high,
        "change_percent": row.change_percent,
        "change_low_percent": row.change_low,
        "change_high_percent": row.change_high,
        "p": row.p,
        "p_corrected": row.p_corrected,
        "verdict": row.verdict,
        "decides": "yes" if row.decides else "no",
        "kind": row.kind,
        "threshold_percent": row.threshold_percent,
        "boots_needed": None if row.needed is None else row.needed.boots,
        "boots_needed_low": None if row.needed is None else row.needed.low,
        "boots_needed_high": None if row.needed is None else row.needed.high,
        "base_below": "yes" if row.base.below else "no",
        "new_below": "yes" if row.new.below else "no",
    }
