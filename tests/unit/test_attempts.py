# SPDX-License-Identifier: GPL-2.0-only
"""The table of what was done on purpose: alike things in one row, no failure unseen."""

from __future__ import annotations

import datetime

import attempts
from attempts import Attempt


def test_phases_and_orders_are_told_in_short() -> None:
    everywhere = [
        Attempt("SIGINT", "ends", "6.1", phase, order, passed=True)
        for phase in ("idle", "steady_wait", "antagonized", "writing")
        for order in (0, 4)
    ]
    some = [
        Attempt("rmmod", "waits", "6.1", phase, 4, passed=True) for phase in ("idle", "writing")
    ]
    other = [Attempt("a full disk", "refused", "6.12", "before a run", passed=True)]
    text = attempts.in_markdown([*everywhere, *some, *other], datetime.date(2026, 1, 2), "QEMU 7")
    assert text.splitlines()[4:] == [
        "| SIGINT | every phase, orders 0 and 4 | 6.1 | ends |",
        "| rmmod | idle, writing, order 4 | 6.1 | waits |",
        "| a full disk | before a run | 6.12 | refused |",
    ]


def test_one_failure_is_the_rows() -> None:
    rows = [Attempt("SIGINT", "ends", "6.1", "idle", order, passed=order == 0) for order in (0, 4)]
    assert attempts.lines(rows) == ["FAILED  SIGINT; idle, orders 0 and 4; 6.1; ends"]
