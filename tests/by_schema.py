# SPDX-License-Identifier: GPL-2.0-only
"""Hold results to their schema, by jsonschema, without asking for the same thing again and again.

The schema has a pattern for each metric, more than Python's re keeps compiled; and a sample of a
hundred thousand latencies has far fewer different ones.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import jsonschema

from page_alloc_bench.runner.result import document as result

_compiled = functools.cache(re.compile)
_usual_items = jsonschema.Draft202012Validator.VALIDATORS["items"]


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], instance: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    """Do what the keyword of this name asks for, as jsonschema does it."""
    if validator.is_type(instance, "object"):
        for pattern, part in patterns.items():
            search = _compiled(pattern).search
            for name, value in instance.items():
                if search(name):
                    yield from validator.descend(value, part, path=name, schema_path=pattern)


def _items(
    validator: Any, items: Any, instance: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    """Do what jsonschema does, to each integer once if there is nothing else in an array."""
    if type(instance) is list and "prefixItems" not in schema and {*map(type, instance)} == {int}:
        instance = list(dict.fromkeys(instance))
    yield from _usual_items(validator, items, instance, schema) or ()


Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {"items": _items, "patternProperties": _pattern_properties}
)


def hold(document: dict[str, Any]) -> None:
    """Raise jsonschema's ValidationError unless DOCUMENT is a result that the schema allows."""
    Validator(result.schema()).validate(document)
