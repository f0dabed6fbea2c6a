# SPDX-License-Identifier: GPL-2.0-only
"""Say quickly of most values that a JSON schema allows them.

A schema becomes nested functions, one a part, which take a twentieth of jsonschema's time. They
only ever say that a value is surely allowed: of any doubt, jsonschema has to judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Check = Callable[[Any], bool]

# What a name of a type in JSON schema is in Python; a bool is an int only there.
_TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
# The words of a schema that are understood. description, $defs and the words of our own ask
# nothing of a value; nor does if: what is as then demands is allowed, whatever if says.
_KNOWN = frozenset(
    ("$defs", "$ref", "additionalProperties", "anyOf", "comparison", "const", "description", "if",
     "items", "maximum", "minimum", "pattern", "properties", "required", "then", "type", "unit")
)  # fmt: skip


def compiled(schema: dict[str, Any]) -> Check:
    """Return a function that is true only of what the schema surely allows."""
    return _Compiler(schema.get("$defs", {})).check(schema)


class _Compiler:
    def __init__(self, shared: dict[str, Any]) -> None:
        self._shared = shared

    def check(self, schema: Any) -> Check:
        """Return the function for a part of the schema."""
        if not isinstance(schema, dict) or not schema.keys() <= _KNOWN:
            return lambda _value: False
        if "$ref" in schema:
            return self.check(self._shared[schema["$ref"].rpartition("/")[2]])
        checks = [make(schema) for word, make in self._makers().items() if word in schema]
        if "properties" in schema or "additionalProperties" in schema:
            checks.append(self._members(schema))
        if len(checks) == 1:
            return checks[0]
        return lambda value: all(check(value) for check in checks)

    def _makers(self) -> dict[str, Callable[[dict[str, Any]], Check]]:
        return {
            "type": _type,
            "const": lambda schema: lambda value: repr(value) == repr(schema["const"]),
            "minimum": lambda schema: (
                lambda value: not _number(value) or value >= schema["minimum"]
            ),
            "maximum": lambda schema: (
                lambda value: not _number(value) or value <= schema["maximum"]
            ),
            "pattern": _pattern,
            "required": _required,
            "items": self._items,
            "anyOf": self._any_of,
            "then": lambda schema: self.check(schema["then"]),
        }

    def _any_of(self, schema: dict[str, Any]) -> Check:
        checks = [self.check(each) for each in schema["anyOf"]]
        return lambda value: any(check(value) for check in checks)

    def _items(self, schema: dict[str, Any]) -> Check:
        check = self.check(schema["items"])
        return lambda value: type(value) is not list or all(map(check, value))

    def _members(self, schema: dict[str, Any]) -> Check:
        known = {name: self.check(of) for name, of in schema.get("properties", {}).items()}
        rest = self.check(schema.get("additionalProperties", {}))

        def members(value: Any) -> bool:
            return type(value) is not dict or all(
                known.get(name, rest)(of) for name, of in value.items()
            )

        return members


def _number(value: Any) -> bool:
    return type(value) in (int, float)


def _type(schema: dict[str, Any]) -> Check:
    names = schema["type"]
    allowed = {t for name in ([names] if isinstance(names, str) else names) for t in _TYPES[name]}
    return lambda value: type(value) in allowed


def _pattern(schema: dict[str, Any]) -> Check:
    pattern = re.compile(schema["pattern"])
    return lambda value: not isinstance(value, str) or pattern.search(value) is not None


def _required(schema: dict[str, Any]) -> Check:
    names = set(schema["required"])
    return lambda value: not isinstance(value, dict) or names <= value.keys()
