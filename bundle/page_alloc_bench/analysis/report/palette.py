# SPDX-License-Identifier: GPL-2.0-only
"""The colours of a report: safe for the colour-blind, in light and in dark.

The hues are those of Okabe and Ito, lighter in the dark. Nothing is told by colour alone: sides
differ in their lines and markers too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Palette:
    """A colour, as #rrggbb, for each part of a picture."""

    ink: str
    faint: str
    paper: str
    base: str
    new: str
    third: str
    fourth: str

    def items(self) -> dict[str, str]:
        """Return the colours by name."""
        return asdict(self)


LIGHT = Palette(
    ink="#1b1f24",
    faint="#c9ced4",
    paper="#ffffff",
    base="#0069a8",
    new="#c44e00",
    third="#007d5a",
    fourth="#a3527f",
)
DARK = Palette(
    ink="#e6e9ec",
    faint="#454c55",
    paper="#15181c",
    base="#5cb8ee",
    new="#f0a04b",
    third="#41c79c",
    fourth="#e29cc6",
)

# Drawn with these, a picture's colours can be told in its SVG and made the page's to choose.
MARKS = Palette(
    ink="#010101",
    faint="#010102",
    paper="#010103",
    base="#010104",
    new="#010105",
    third="#010106",
    fourth="#010107",
)
