# SPDX-License-Identifier: GPL-2.0-only
"""The result document: measurements at the top level, everything else under "run".

schema.json beside this file describes it, with the unit of each metric and the direction
that is good.
"""

from __future__ import annotations

import json
import pkgutil
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

SCHEMA_VERSION = 1
SCHEMA = "schema.json"

Values = Sequence[int]
# Programs that were written for the first page_alloc_bench find these names in every result.
CONTRACTED = (
    "idle_available_bytes",
    "antagonized_available_bytes",
    "kernel_page_allocs",
    "kernel_alloc_failures",
    "kernel_page_allocs_remote",
    "kernel_page_alloc_latencies_ns",
    "kernel_page_free_latencies_ns",
)
_AT_ONCE = 4096  # values that become text together: as Python's integers they take much memory


class Document:
    """A result that grows while it is measured.

    run: the object under "run". metrics: an array of integers for each NAME_order$n.
    """

    def __init__(self, run: dict[str, Any]) -> None:
        self.run: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "complete": False, **run}
        self.run.setdefault("warnings", [])
        self.run.setdefault("phases", [])
        self.run.setdefault("iterations", [])
        self.metrics: dict[str, array[int]] = {}

    def put(self, name: str, order: int, values: Values) -> None:
        """Set a metric that is measured once in an order."""
        self.metrics[key(name, order)] = array("Q", values)

    def append(self, name: str, order: int, value: int) -> None:
        """Add a value to a metric that is measured in each iteration."""
        self.metrics.setdefault(key(name, order), array("Q")).append(value)

    def get(self, name: str, order: int) -> Values:
        """Return a metric's values; empty if it has not been measured."""
        return self.metrics.get(key(name, order), ())

    def warn(self, text: str) -> None:
        """Record what makes the result less than it should be."""
        self.run["warnings"].append(text)

    def end(self, *, complete: bool, reason: str | None, exit_code: int) -> None:
        """Record how the run ended; reason: None when it is complete."""
        self.run["complete"] = complete
        self.run["ended"] = {"complete": complete, "reason": reason, "exit_code": exit_code}

    def chunks(self) -> Iterator[str]:
        """Yield the document as JSON text, a metric a line, without ever holding all of it.

        A contracted metric of which nothing was measured is an empty array.
        """
        yield '{\n"run": ' + json.dumps(_long_last(self.run), indent=1)
        for name, values in self.metrics.items():
            yield f",\n{json.dumps(name)}: ["
            for start in range(0, len(values), _AT_ONCE):
                yield ("," if start else "") + ",".join(map(str, values[start : start + _AT_ONCE]))
            yield "]"
        for order in self.run.get("parameters", {}).get("alloc_orders", ()):
            for name in (key(each, order) for each in CONTRACTED):
                if name not in self.metrics:
                    yield f",\n{json.dumps(name)}: []"
        yield "\n}\n"


def _long_last(run: dict[str, Any]) -> dict[str, Any]:
    """Return run with the digests of the bundle's files at its end: hundreds, and seldom read."""
    if "bundle" not in run:
        return run
    bundle = dict(run["bundle"])
    long = {"parts": bundle.pop("parts")} if "parts" in bundle else {}
    rest = {name: value for name, value in run.items() if name != "bundle"}
    return {**rest, "bundle": {**bundle, **long}}


def key(name: str, order: int) -> str:
    """Return the name of a metric of one order."""
    return f"{name}_order{order}"


def split_key(name: str) -> tuple[str, int]:
    """Return the metric and the order of a top-level name. Raises ValueError for another name."""
    match = re.fullmatch(r"(.+)_order([0-9]+)", name)
    if match is None:
        raise ValueError(f"{name} names no order")
    return match[1], int(match[2])


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    data = pkgutil.get_data(__package__, SCHEMA)
    assert data is not None, "the schema ships beside this file"
    document: dict[str, Any] = json.loads(data)
    return document


def metrics(of: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each metric of a schema by its name without the order: unit, better, description."""
    return {
        pattern[len("^") : -len("_order[0-9]+$")]: description
        for pattern, description in of["patternProperties"].items()
    }
