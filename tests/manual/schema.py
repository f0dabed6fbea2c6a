# SPDX-License-Identifier: GPL-2.0-only
"""The parts of a result's JSON Schema that are made from the declarations of metrics and options.

The rest of the file is written by hand.
"""

from __future__ import annotations

from pathlib import Path

from page_alloc_bench.runner.command_line import parameters
from page_alloc_bench.runner.result import metrics

PATH = Path(__file__).resolve().parents[2] / "bundle/page_alloc_bench/runner/result/schema.json"


def text() -> str:
    """Return what the file should have."""
    return parameters.schema_text(metrics.schema_text(PATH.read_text()))


if __name__ == "__main__":
    PATH.write_text(text())
