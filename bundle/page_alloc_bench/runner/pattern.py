# SPDX-License-Identifier: GPL-2.0-only
"""What the runner knows of a pattern of the module, and which there are."""

from __future__ import annotations

from . import registry
from .command_line.option import Part, all_fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from .command_line.option import Option

    Parameters = Mapping[str, int]

_PACKAGE = "page_alloc_bench.runner.patterns"


def _by_the_workload(_options: argparse.Namespace) -> dict[str, int]:
    return {}


class Pattern:
    """A pattern of the module.

    name: as the module has it. title: of its options in the help. options: that set its parameters.
    parameters: returns the value of each parameter by the module's names, from the options; none
    where the workload chooses them. blocks: returns how many blocks a worker holds at most, from
    the parameters, as the module does. check: see Part.
    """

    def __init__(
        self,
        *,
        name: str,
        title: str,
        options: tuple[Option, ...],
        blocks: Callable[[Parameters], int],
        parameters: Callable[[argparse.Namespace], dict[str, int]] = _by_the_workload,
        check: Callable[[argparse.Namespace], str | None] = all_fits,
    ) -> None:
        self.name = name
        self.title = title
        self.options = options
        self.parameters = parameters
        self.blocks = blocks
        self.check = check

    def part(self) -> Part:
        """Return its part of the command line."""
        return Part(self.name, self.title, self.options, self.check)


def every() -> dict[str, Pattern]:
    """Return all patterns by name."""
    return {each.name: each for each in registry.declared(_PACKAGE, "PATTERN").values()}
