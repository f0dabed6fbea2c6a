# SPDX-License-Identifier: GPL-2.0-only
"""What one measurement was made under, and how that is part of a metric's name in the result.

NAME_order4 is NAME at order 4 with everything else as it is by default. What else was chosen
follows, an axis and its value each: NAME_order4_gfp_atomic_depth_16. So a name that programs parse
stays as it is when an axis is added.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

AXIS = "[a-z]+"
VALUE = "[a-z0-9-]+"
# A name ends in this; the pattern is that of the JSON Schema too.
SUFFIX = f"_order[0-9]+(_{AXIS}_{VALUE})*"
_KEY = re.compile(rf"(.+?)_order([0-9]+)((?:_{AXIS}_{VALUE})*)")
_CHOICE = re.compile(rf"_({AXIS})_({VALUE})")


@dataclass(frozen=True, order=True)
class Case:
    """What a measurement was made under.

    order: of the blocks. chosen: axis and value of each thing that is not as it is by default, in
    the order of the names of the axes. An axis is of small letters, a value of these, digits and
    dashes.
    """

    order: int
    chosen: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError for what could not be read back from a name."""
        axes = [axis for axis, _ in self.chosen]
        if axes != sorted(set(axes)):
            raise ValueError(f"axes are to be in order and each once: {', '.join(axes)}")
        if _parts(f"x{self.suffix()}") != ("x", self.order, self.chosen):
            raise ValueError(f"{self.suffix()[:100]} cannot be read back")

    def suffix(self) -> str:
        """Return what ends the name of each metric of this case."""
        return f"_order{self.order}" + "".join(f"_{axis}_{value}" for axis, value in self.chosen)

    @property
    def choice(self) -> str:
        """Return what was chosen as one column of a table, such as "depth=16 gfp=atomic"."""
        return " ".join(f"{axis}={value}" for axis, value in self.chosen)

    def __str__(self) -> str:
        """Return the case in words, such as "order 4, gfp atomic"."""
        return ", ".join(f"{axis} {value}" for axis, value in (("order", self.order), *self.chosen))


def case_of(given: Case | int) -> Case:
    """Return the case that is given, or the default one of an order."""
    return Case(given) if isinstance(given, int) else given


def key(name: str, given: Case | int) -> str:
    """Return the name in the result of a metric; given: as in case_of()."""
    return name + case_of(given).suffix()


@functools.lru_cache(4096)  # a hundred results have the same names
def split_key(name: str) -> tuple[str, Case]:
    """Return the metric and the case of a name in the result. Raises ValueError for another."""
    parts = _parts(name)
    if parts is None:
        raise ValueError(f"{name} names no order")
    return parts[0], Case(parts[1], parts[2])


def _parts(name: str) -> tuple[str, int, tuple[tuple[str, str], ...]] | None:
    match = _KEY.fullmatch(name)
    if match is None:
        return None
    return match[1], int(match[2]), tuple(_CHOICE.findall(match[3]))
