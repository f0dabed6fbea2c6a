# SPDX-License-Identifier: GPL-2.0-only
"""What a picture is, and how the two sides are told apart in all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.runner.result.case import Case

LINES = {"base": "solid", "new": (0, (5, 1.5))}
MARKERS = {"base": "o", "new": "D"}


@dataclass(frozen=True)
class Picture:
    """One picture. name: of its file and ids; title: what it says; text: what is to be seen.

    section: which part of a report it belongs to; part: what that is called. draw: makes it, in
    some colours, with the title in it or without.
    """

    name: str
    section: str
    case: Case
    title: str
    text: str
    draw: Callable[[Palette, str | None], Figure]
    part: str = ""

    def figure(self, palette: Palette, titled: bool) -> Figure:
        """Return the picture, drawn in palette; titled: with its title in it."""
        with ax.style(palette):
            return self.draw(palette, self.title if titled else None)


def signed(value: float) -> str:
    """Return a change of bytes as people write it: -1.7 GiB."""
    return f"{'-' if value < 0 else '+'}{ax.size(abs(value))}"
