# SPDX-License-Identifier: GPL-2.0-only
"""The options that a result has under run.parameters: their values, and their JSON Schema."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from page_alloc_bench.runner import workload
from page_alloc_bench.runner.module import sampling

from . import common
from .option import Option

# Follows from another option.
_TIME_ONE_IN = {
    "type": "integer",
    "comparison": "invalidating",
    "description": "One in so many operations is timed, chosen at random in advance; 0: none.",
}
_WORKLOAD = {
    "type": "array",
    "items": {"type": "string"},
    "comparison": "invalidating",
    "description": "What was measured, where that is not the default workload alone.",
}


def of_run(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that shape the measurement."""
    common = (o for o in _common() if not o.workload or o.workload in options.workload)
    found = [*common, *_own(workload.chosen(options))]
    values = {option.name: getattr(options, option.name) for option in found}
    values["time_one_in"] = sampling.TIME_ONE_IN[options.latencies]
    if options.workload != [workload.DEFAULT]:
        values["workload"] = options.workload
    return values


def schema() -> dict[str, Any]:
    """Return the JSON Schema of run.parameters."""
    shared = list(_common())
    every = {option.name: option for option in [*shared, *_own(workload.every().values())]}
    properties = {name: option.schema() for name, option in every.items()}
    always = [option.name for option in shared if option.always and not option.workload]
    own = [option for option in shared if option.workload == workload.DEFAULT and option.always]
    own += _own([workload.every()[workload.DEFAULT]])
    of_the_default = [option.name for option in own]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**properties, "time_one_in": _TIME_ONE_IN, "workload": _WORKLOAD},
        "required": sorted([*always, "time_one_in"]),
        "if": {"not": {"required": ["workload"]}},
        "then": {"required": of_the_default},
    }


def schema_text(text: str) -> str:
    """Return the text of the JSON Schema of a result with its part about parameters made anew."""
    begin = text.index('        "parameters": {')
    end = text.index("\n        },", begin) + len("\n        }")
    part = json.dumps({"parameters": schema()}, indent=2)[2:-2]
    return text[:begin] + part.replace("\n", "\n      ").replace("  ", "        ", 1) + text[end:]


def _common() -> Iterator[Option]:
    groups = (common.RUN, common.SAFETY, common.WORKERS)
    return (o for group in groups for o in group.options if o.kind is not None)


def _own(workloads: Any) -> Iterator[Option]:
    """Yield the options of workloads and of their patterns."""
    for each in workloads:
        for part in each.parts():
            yield from (option for option in part.options if option.kind is not None)
