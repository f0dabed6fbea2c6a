# SPDX-License-Identifier: GPL-2.0-only
"""Each option is declared once; the rest follows."""

from __future__ import annotations

import json

from page_alloc_bench.runner import options
from page_alloc_bench.runner.command_line import parameters
from page_alloc_bench.runner.result import document


def test_the_schema_that_ships_is_that_of_the_declared_options() -> None:
    """Type scripts/schema where this fails."""
    shipped = document.schema()["properties"]["run"]["properties"]["parameters"]
    assert shipped == json.loads(json.dumps(parameters.schema()))


def test_a_run_records_what_the_schema_asks_for() -> None:
    schema = parameters.schema()
    recorded = parameters.of_run(options.parse([]))
    assert set(schema["required"]) <= set(recorded) <= set(schema["properties"])
    more = parameters.of_run(options.parse(["--held", "7", "--latencies=all", "--seed=9"]))
    changed = {name: value for name, value in more.items() if recorded[name] != value}
    assert changed == {"held": 7, "spread": 7, "latencies": "all", "seed": 9, "time_one_in": 1}
