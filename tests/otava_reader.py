# SPDX-License-Identifier: GPL-2.0-only
"""A reader of CSV as strict as Apache Otava, and stricter where Otava would conclude nonsense.

From its docs/CSV.md, and from what its importer does: a header, by whose names columns are found;
a time that can be parsed, and has a zone; a number in every row of each metric. Otava does not
sort, ends where a `branch` column has two values, and takes a time to come for none.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone


class OtavaError(Exception):
    """Otava would not read this, or not as it is meant."""


@dataclass(frozen=True)
class Series:
    """What Otava has read. time: seconds since the epoch, of each row."""

    time: list[float]
    attributes: dict[str, list[str]]
    data: dict[str, list[float]]


def headers(text: str) -> list[str]:
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=",", quotechar='"'))


def read(text: str, attributes: Sequence[str], metrics: Sequence[str]) -> Series:
    """Return the columns that a test of Otava's configuration names. Raises OtavaError."""
    names, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=",", quotechar='"')
    if len(set(names)) != len(names):
        raise OtavaError("two columns have one name, of which Otava would read the first")
    lacking = {"time", *attributes, *metrics} - set(names)
    if lacking:
        raise OtavaError(f"Column not found {lacking}")
    found = Series([], {name: [] for name in attributes}, {name: [] for name in metrics})
    for row in rows:
        if len(row) != len(names):
            raise OtavaError(f"Number of values in the row does not match: {row}")
        cells = dict(zip(names, row, strict=True))
        found.time.append(_time(cells["time"]))
        for name in attributes:
            found.attributes[name].append(cells[name])
        for name in metrics:
            value = float(cells[name])
            if not math.isfinite(value):
                raise OtavaError(f"{name} is {value}")
            found.data[name].append(value)
    if found.time != sorted(found.time):
        raise OtavaError("the rows are not in the order of time")
    if "branch" in names and len({row[names.index("branch")] for row in rows}) > 1:
        raise OtavaError("CSV file contains data from multiple branches")
    return found


def _time(text: str) -> float:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise OtavaError(f"{text} has no time zone")
    if moment >= datetime.now(timezone.utc):
        raise OtavaError(f"{text} is to come, and is left out")
    return moment.timestamp()
