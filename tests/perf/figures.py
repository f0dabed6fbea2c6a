# SPDX-License-Identifier: GPL-2.0-only
"""A figure and the bar it has to clear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A measured value and its bar; least says on which side of the bar it has to be."""

    name: str
    value: float
    bar: float
    least: bool

    @property
    def ok(self) -> bool:
        return self.value >= self.bar if self.least else self.value <= self.bar

    def line(self) -> str:
        sign = ">=" if self.least else "<="
        verdict = "ok" if self.ok else "MISSED"
        return f"{self.name:<64} {self.value:>10.3f}  {sign} {self.bar:<6g} {verdict}"

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "bar": self.bar, "ok": self.ok}


def at_least(name: str, value: float, bar: float) -> Figure:
    return Figure(name, value, bar, least=True)


def at_most(name: str, value: float, bar: float) -> Figure:
    return Figure(name, value, bar, least=False)
