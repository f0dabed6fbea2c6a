# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as JSON: everything that is known of it, the figures of each run too."""

from __future__ import annotations

import dataclasses
import json

from .comparison import Comparison

FORMAT = 1


def render(comparison: Comparison) -> str:
    """Return the JSON: the fields of Comparison by their names; an unknown value is null."""
    document = {"format": FORMAT, **dataclasses.asdict(comparison)}
    return json.dumps(document, default=str, allow_nan=False, indent=1) + "\n"
