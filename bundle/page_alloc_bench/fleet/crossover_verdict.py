# SPDX-License-Identifier: GPL-2.0-only
"""What the hosts of a cross-over show together.

A host is one observation: the logarithm of its median with the new kernel less that with base. Over
the hosts it is Wilcoxon's signed-rank test, with Hodges and Lehmann's estimate and its interval:
analysis.verdict.signed_rank. Hosts that have not measured both kernels are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from page_alloc_bench.analysis import campaign_directory, compare, format_json, format_text, results
from page_alloc_bench.analysis.comparison import Comparison
from page_alloc_bench.analysis.results import Result
from page_alloc_bench.campaign.verdict_codes import NEW_FAILS, REGRESSION, TROUBLE

from . import outcome
from .crossover import directory
from .outcome import FleetError


def compared(place: Path, hosts: Sequence[str], options: Mapping[str, Any]) -> Comparison | None:
    """Compare what hosts measured; None where there are none.

    options: of analysis.compare.compare(). Raises compare.CompareError, ResultError.
    """
    sides = [
        [run for host in hosts for run in _runs(place, host, side)] for side in ("base", "new")
    ]
    if not all(sides):
        return None
    # In which order the hosts made their boots was drawn before the first.
    return compare.compare(*sides, by_host=True, accept_order=True, **options)


def _runs(place: Path, host: str, side: str) -> list[Result]:
    """Return what a host measured of a side, under its name in the inventory.

    Hosts may have no machine-id, or the same one where they are copies.
    """
    kept = campaign_directory.read(directory(place, host))
    found = map(results.load, kept.files(side))
    return [replace(run, run={**run.run, "host_id": host}) for run in found]


def exit_code(made: Comparison | None, outcomes: Mapping[str, str]) -> int:
    """Return the exit code: that of the verdict, unless new failed on a host and is not worse."""
    code = TROUBLE if made is None else made.exit_code
    if code != REGRESSION and outcome.NEW_FAILS in outcomes.values():
        return NEW_FAILS
    return code


def tell(
    place: Path, made: Comparison | None, known: Mapping[str, tuple[str, str]]
) -> tuple[str, int]:
    """Write DIR/verdict.txt and .json; return the text and the exit code.

    known: outcome and reason of each host. Raises FleetError where they cannot be written.
    """
    code = exit_code(made, {host: what for host, (what, _) in known.items()})
    width = max(map(len, known), default=0)
    lines = [
        f"{host:{width}}  {what:11}  {reason}".rstrip()
        for host, (what, reason) in sorted(known.items())
        if what != outcome.OK
    ]
    text = format_text.render(made) if made else "No host has measured both kernels.\n"
    if lines:
        text += "\n".join(["", "Hosts that are left out:", *lines, ""])
    document: dict[str, Any] = json.loads(format_json.render(made)) if made else {}
    document |= {
        "exit_code": code,
        "hosts": {
            host: {"outcome": what, "reason": reason} for host, (what, reason) in known.items()
        },
    }
    try:
        (place / "verdict.txt").write_text(text)
        (place / "verdict.json").write_text(json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise FleetError(f"the verdict cannot be written: {error}") from error
    return text, code
