# SPDX-License-Identifier: GPL-2.0-only
"""How the results in the directory of a campaign are compared: as its plan says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import thresholds
from .campaign_directory import Kept, read

_USUAL_CONFIDENCE = 0.95


def planned(kept: Kept) -> dict[str, Any]:
    """Return the options of compare() that a plan has; none where it has no stop rule."""
    if not kept.timed:
        return {}
    return {
        "thresholds": thresholds.parse(kept.plan["thresholds"]),
        "confidence": kept.plan["confidence"],
        "allow": tuple(kept.plan["allow"]),
        "only": tuple(kept.plan["metrics"]),
    }


def options(directory: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of compare() for a campaign: what is GIVEN, else the plan's, and the look.

    The order of the boots was drawn before, so it is accepted.
    """
    kept = read(directory)
    asked = {
        name: value
        for name, value in given.items()
        if value and not (name == "confidence" and value == _USUAL_CONFIDENCE)
    }
    if not kept.timed:
        return dict(given)
    return {**given, **planned(kept), **asked, "accept_order": True, "look": kept.look()}
