# SPDX-License-Identifier: GPL-2.0-only
"""The tests' quicker way to hold a result to its schema finds what jsonschema finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

import by_schema
import recorded
from page_alloc_bench.runner.result import document as result

SAMPLE = "kernel_page_alloc_latencies_ns_order0"


def faults(validator: Any, document: recorded.Document) -> list[tuple[str, str]]:
    """Where each fault is, and what it is."""
    found = validator(result.schema()).iter_errors(document)
    return sorted((error.json_path, error.message) for error in found)


def put(value: object) -> Callable[[recorded.Document], object]:
    return lambda document: document[SAMPLE].__setitem__(7, value)


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (put(3), 0),
        (put(-1), 1),
        (put(True), 1),
        (put(1.5), 1),
        (put("1"), 1),
        (put([]), 1),
        (lambda document: document.update({SAMPLE: 7}), 1),
        (lambda document: document.pop(SAMPLE), 0),
        (lambda document: document.update(nonsense_order0=[1]), 1),
        (lambda document: document.pop("run"), 1),
        (lambda document: document["run"].update(complete="yes", cpus=[-1, 0]), 2),
    ],
)
def test_it_finds_the_same(change: Callable[[recorded.Document], object], count: int) -> None:
    document = {  # a little of each array: jsonschema takes its time
        key: value[:3] if isinstance(value, list) else value
        for key, value in recorded.documents(recorded.BASE)[0].items()
    }
    document[SAMPLE] = [*range(100), *range(100)]
    change(document)
    found = faults(by_schema.Validator, document)
    assert found == faults(jsonschema.Draft202012Validator, document)
    assert len(found) == count
    if count:
        with pytest.raises(jsonschema.ValidationError):
            by_schema.hold(document)
