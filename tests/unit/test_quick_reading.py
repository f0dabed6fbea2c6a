# SPDX-License-Identifier: GPL-2.0-only
"""The quick ways to read and check a result never say what the slow, well-known ones would not."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import numpy as np
import pytest

import recorded
from page_alloc_bench.analysis import long_arrays, quick_schema, sound
from page_alloc_bench.runner.result.document import schema

ODD: tuple[Any, ...] = (
    None, True, 0, 1, -1, 300, 2**70, 0.5, 1.0, "", "x", "2026-01-31T12:00:00Z", [], {}, [[]],
    [None], [-1], {"": ""}, {"a": {"b": []}},
)  # fmt: skip


def changed(document: Any, value: Any, rest: list[Any]) -> Any:
    """Return the document with value in the place that the numbers in rest lead to."""
    top = copy.deepcopy(document)
    at = top
    while True:
        key = sorted(at)[rest.pop() % len(at)] if isinstance(at, dict) else rest.pop() % len(at)
        if not rest or not isinstance(at[key], (dict, list)) or not at[key]:
            at[key] = value
            return top
        at = at[key]


def test_a_good_result_needs_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """jsonschema takes twenty times as long; a word that it alone understands would go unseen."""
    monkeypatch.setattr(jsonschema.Draft202012Validator, "iter_errors", None)
    for document in recorded.documents(recorded.BASE):
        assert sound.fault_of_run(document["run"]) is None


def test_what_is_surely_allowed_is_allowed_by_jsonschema_too() -> None:
    whole = schema()
    rng = np.random.default_rng(1)
    said = {True: 0, False: 0}
    for name, value in recorded.documents(recorded.BASE)[0]["run"].items():
        if not isinstance(value, (dict, list)) or not value:
            continue
        part = {**whole["properties"]["run"]["properties"][name], "$defs": whole["$defs"]}
        sure = quick_schema.compiled(part)
        validator = jsonschema.Draft202012Validator(part)
        for _ in range(60):
            steps = [int(step) for step in rng.integers(0, 1000, rng.integers(2, 7))]
            odd = changed(value, ODD[rng.integers(len(ODD))], steps)
            allowed = sure(odd)
            assert not allowed or validator.is_valid(odd), odd
            said[allowed] += 1
    assert min(said.values()) > 20, said


@pytest.mark.parametrize(
    ("part", "good", "bad"),
    [
        ({"type": "integer", "minimum": 0}, 0, -1),
        ({"type": "integer"}, 1, True),
        ({"const": 1}, 1, True),
        ({"type": ["string", "null"]}, None, 0),
        ({"type": "string", "pattern": "^a"}, "ab", "ba"),
        ({"required": ["a"], "properties": {"a": {"maximum": 2}}}, {"a": 2}, {"a": 3}),
        ({"additionalProperties": {"type": "string"}}, {"x": "y"}, {"x": 1}),
        ({"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "integer"}}]}, [1], [""]),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}, None, 1),
        ({"additionalProperties": True}, {}, {"x": 1}),  # not known here: a doubt, not an error
        ({"multipleOf": 2}, None, 4),
    ],
)  # fmt: skip
def test_each_word_of_a_schema_is_understood_or_doubted(part: Any, good: Any, bad: Any) -> None:
    assert quick_schema.compiled(part)(good) == ("multipleOf" not in part)
    assert not quick_schema.compiled(part)(bad)


LONG = list(range(1000, 1400))


@pytest.mark.parametrize("indent", [None, 1])
def test_long_arrays_are_read_as_json_has_them(indent: int | None) -> None:
    document = {"a_order0": LONG, "b_order0": [5, 2**61, *LONG], "short": [1, -1], "run": {"x": 1}}
    read = long_arrays.load(json.dumps(document, indent=indent).encode(), json.loads)
    assert read is not None
    assert isinstance(read["a_order0"], np.ndarray)
    assert {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in read.items()} == document


@pytest.mark.parametrize("large", [2**62, 2**63 - 1, 2**63, 2**70])
def test_a_number_that_may_not_fit_is_read_exactly(large: int) -> None:
    document = {"a_order0": [large, *LONG]}
    assert long_arrays.load(json.dumps(document).encode(), json.loads) == document


DIGITS = json.dumps(LONG)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"a": {DIGITS[:-1]},]}}',
        f'{{"a": {DIGITS.replace(", 1100", ",, 1100")}}}',
        f'{{"a": {DIGITS.replace(", 1100", " 1100")}}}',
        f'{{"a": {DIGITS.replace("1000", ", 1000", 1)}}}',
        f'{{"a": {DIGITS}',
        f'{{"run": {{"a": {DIGITS}}}}}',  # an array that is not at the top
        json.dumps({"run": f"text {DIGITS}"}),
        json.dumps({DIGITS: 1}),
        DIGITS,
        f'{{"a": {DIGITS}, "a": {DIGITS}}}',  # json.loads() takes the last one
    ],
)
def test_what_is_not_surely_a_long_array_is_left_to_json(text: str) -> None:
    assert long_arrays.load(text.encode(), json.loads) is None
