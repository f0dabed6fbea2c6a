# SPDX-License-Identifier: GPL-2.0-only
"""The result document: measurements at the top level, everything else under "run".

schema.json beside this file describes it. Its part about metrics is made from their declarations by
scripts/schema.
"""

from __future__ import annotations

import json
import pkgutil
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from .case import Case, key, split_key
from .metrics import declared, every
from .names import DEFAULT_WORKLOAD

SCHEMA_VERSION = 1
SCHEMA = "schema.json"

Values = Sequence[int]
_AT_ONCE = 4096  # values that become text together: as Python's integers they take much memory


class Document:
    """A result that grows while it is measured.

    run: the object under "run". metrics: an array of integers for each name of a metric with the
    suffix of its case. Where a case is to be given, an order stands for its default case.
    """

    def __init__(self, run: dict[str, Any]) -> None:
        self.run: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "complete": False, **run}
        self.run.setdefault("warnings", [])
        self.run.setdefault("phases", [])
        self.run.setdefault("iterations", [])
        self.metrics: dict[str, array[int]] = {}

    def put(self, name: str, case: Case | int, values: Values) -> None:
        """Set a metric that is measured once in a case. Raises UndeclaredError."""
        self.metrics[key(declared(name).name, case)] = array("Q", values)

    def append(self, name: str, case: Case | int, value: int) -> None:
        """Add a value to a metric that is measured in each iteration. Raises UndeclaredError."""
        self.metrics.setdefault(key(declared(name).name, case), array("Q")).append(value)

    def get(self, name: str, case: Case | int) -> Values:
        """Return a metric's values; empty if it has not been measured."""
        return self.metrics.get(key(name, case), ())

    def cases(self) -> list[Case]:
        """Return the cases that anything was measured in, ascending."""
        return sorted({split_key(name)[1] for name in self.metrics})

    def warn(self, text: str) -> None:
        """Record what makes the result less than it should be."""
        self.run["warnings"].append(text)

    def end(self, *, complete: bool, reason: str | None, exit_code: int) -> None:
        """Record how the run ended; reason: None when it is complete."""
        self.run["complete"] = complete
        self.run["ended"] = {"complete": complete, "reason": reason, "exit_code": exit_code}

    def chunks(self) -> Iterator[str]:
        """Yield the document as JSON text, a metric a line, without ever holding all of it.

        A contracted metric of which nothing was measured is an empty array, in a run of the
        default workload.
        """
        yield '{\n"run": ' + json.dumps(_long_last(self.run), indent=1)
        for name, values in self.metrics.items():
            yield f",\n{json.dumps(name)}: ["
            for start in range(0, len(values), _AT_ONCE):
                yield ("," if start else "") + ",".join(map(str, values[start : start + _AT_ONCE]))
            yield "]"
        parameters = self.run.get("parameters", {})
        contracted = DEFAULT_WORKLOAD in parameters.get("workload", [DEFAULT_WORKLOAD])
        for order in parameters.get("alloc_orders", ()) if contracted else ():
            for metric in every().values():
                if metric.contracted and key(metric.name, order) not in self.metrics:
                    yield f",\n{json.dumps(key(metric.name, order))}: []"
        yield "\n}\n"


def _long_last(run: dict[str, Any]) -> dict[str, Any]:
    """Return run with the digests of the bundle's files at its end: hundreds, and seldom read."""
    if "bundle" not in run:
        return run
    bundle = dict(run["bundle"])
    long = {"parts": bundle.pop("parts")} if "parts" in bundle else {}
    rest = {name: value for name, value in run.items() if name != "bundle"}
    return {**rest, "bundle": {**bundle, **long}}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    data = pkgutil.get_data(__package__, SCHEMA)
    assert data is not None, "the schema ships beside this file"
    document: dict[str, Any] = json.loads(data)
    return document
