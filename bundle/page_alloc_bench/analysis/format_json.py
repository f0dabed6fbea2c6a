# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as JSON: everything that is known of it, the figures of each run too."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from .comparison import Comparison

FORMAT = 2


def render(comparison: Comparison) -> str:
    """Return the JSON: the fields of Comparison by their names; an unknown value is null."""
    document = {"format": FORMAT, **dataclasses.asdict(comparison)}
    return json.dumps(document, default=str, allow_nan=False, indent=1) + "\n"


def render_all(made: Sequence[Comparison]) -> str:
    """Return the JSON of several comparisons with one base: an array of what render() returns."""
    return json.dumps([json.loads(render(comparison)) for comparison in made], indent=1) + "\n"
