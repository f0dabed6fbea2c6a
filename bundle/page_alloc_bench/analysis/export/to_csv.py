# SPDX-License-Identifier: GPL-2.0-only
"""Tidy rows as CSV, for spreadsheets and everything else."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TextIO

from page_alloc_bench.analysis import tidy


def export(runs: Sequence[tidy.Run], stream: TextIO, facts: Sequence[str] = ()) -> None:
    """Write a row for each value; facts: names of those to add to the chief ones.

    Raises ResultError for a fact that no run has, before anything is written.
    """
    names = tidy.fact_columns(runs, facts)
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(tidy.header(names))
    for run in runs:
        writer.writerows(tidy.rows(run, names))
