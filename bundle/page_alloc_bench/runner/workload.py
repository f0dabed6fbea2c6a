# SPDX-License-Identifier: GPL-2.0-only
"""What the runner knows of a workload, and which there are."""

from __future__ import annotations

from . import pattern, registry
from .command_line.option import Part, all_fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from .command_line.option import Option
    from .measuring.bench import Bench
    from .measuring.plan import PlannedPhase

_PACKAGE = "page_alloc_bench.runner.workloads"
DEFAULT = "available-memory"


class Workload:
    """Something that can be measured.

    Its metrics and phases are declared in result/declared/, in the file of the same name.

    name: for --workload. title: of its options in the help. isolates: what it tells, a clause.
    options: its own. patterns: of the module, by their names, that it has the workers do. plan:
    returns the phases of a run of it that is not cut short, in the order of time. run: measures,
    and puts what it finds into the bench; ends with RunnerError, or with a Stop and what is whole
    in the document. seconds: how long a phase takes in which memory is not filled, by its name.
    checks: names of the preflight's checks that matter to it; None: all. check: see Part.
    """

    def __init__(
        self,
        *,
        name: str,
        title: str,
        isolates: str,
        options: tuple[Option, ...],
        patterns: tuple[str, ...],
        plan: Callable[[argparse.Namespace], Sequence[PlannedPhase]],
        run: Callable[[Bench], None],
        seconds: Mapping[str, float],
        checks: frozenset[str] | None = None,
        check: Callable[[argparse.Namespace], str | None] = all_fits,
    ) -> None:
        self.name = name
        self.title = title
        self.isolates = isolates
        self.options = options
        self.patterns = patterns
        self.plan = plan
        self.run = run
        self.seconds = seconds
        self.checks = checks
        self.check = check

    def parts(self) -> list[Part]:
        """Return what has options: its patterns and itself."""
        patterns = pattern.every()
        return [
            *(patterns[name].part() for name in self.patterns),
            Part(self.name, self.title, self.options, self.check),
        ]


def every() -> dict[str, Workload]:
    """Return all workloads by name, the default one first."""
    found = {each.name: each for each in registry.declared(_PACKAGE, "WORKLOAD").values()}
    return {DEFAULT: found.pop(DEFAULT), **found}


def chosen(options: argparse.Namespace) -> list[Workload]:
    """Return the workloads of a run, in the order in which they are to be measured."""
    known = every()
    return [known[name] for name in options.workload]


def plan(options: argparse.Namespace) -> list[PlannedPhase]:
    """Return the phases of a run, in the order of time."""
    return [phase for workload in chosen(options) for phase in workload.plan(options)]
