# SPDX-License-Identifier: GPL-2.0-only
"""What the runner knows of a workload, and which there are."""

from __future__ import annotations

from . import pattern, registry
from .command_line.option import Part, all_fits
from .result.names import DEFAULT_WORKLOAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from .command_line.option import Option
    from .measuring.bench import Bench, PlannedPhase

_PACKAGE = "page_alloc_bench.runner.workloads"
DEFAULT = DEFAULT_WORKLOAD
ALL = "all"
BESIDE = 1.7  # how much longer a fill takes beside a pattern that has half of each CPU


def _one(_options: argparse.Namespace) -> int:
    return 1


def _fits_all(_options: argparse.Namespace, _cpus: Sequence[int]) -> None:
    """Take any CPUs."""


class Counted:
    """What is counted of a workload by --workload exact, on one CPU of a guest.

    name: of its metrics, which its declaration in result/declared/ has by counted_metrics.py.
    pattern: of the module. case: from the order, the blocks to hold at most where
    nothing else asks for more or less, and about how many allocations to make: the pattern's
    parameters, and how many allocations; None where it does not measure that order.
    """

    def __init__(
        self,
        name: str,
        pattern: str,
        case: Callable[[int, int, int], tuple[dict[str, int], int] | None],
    ) -> None:
        self.name = name
        self.pattern = pattern
        self.case = case


class Workload:
    """Something that can be measured.

    Its metrics and phases are declared in result/declared/, in the file of the same name.

    name: for --workload. title: of its options in the help. isolates: what it tells, a clause.
    options: its own. patterns: of the module, by their names, that it has the workers do. plan:
    returns the phases of a run of it that is not cut short, in the order of time. run: measures,
    and puts what it finds into the bench; ends with RunnerError, or with a Stop and what is whole
    in the document. seconds: how long a phase takes in which memory is not filled, by its name;
    asked: the same where it follows from the options and the order. fills: of each phase in which a
    process fills the memory, the option that says how often, and how much longer than alone that
    takes. checks: names of the preflight's checks that matter to it besides those of the module;
    None: all. check: see Part. shared: what has options that other workloads take too. cases:
    returns how many cases there are of each order. held: returns how much each case may hold that
    fills no memory, in bytes; None where it fills it. fits: raises UsageError for options that the
    CPUs of a run do not fit. needs: of a host, a clause. in_all: whether --workload all measures
    it.
    counted: how --workload exact measures it too; None: not.
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
        asked: Callable[[argparse.Namespace, int], Mapping[str, float]] | None = None,
        fills: Mapping[str, tuple[str, float]] | None = None,
        shared: tuple[Part, ...] = (),
        cases: Callable[[argparse.Namespace], int] = _one,
        held: Callable[[argparse.Namespace, Sequence[int]], list[int]] | None = None,
        fits: Callable[[argparse.Namespace, Sequence[int]], None] = _fits_all,
        needs: str = "nothing",
        in_all: bool = True,
        counted: Counted | None = None,
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
        self.asked = asked
        self.fills = fills or {}
        self.shared = shared
        self.cases = cases
        self.held = held
        self.fits = fits
        self.needs = needs
        self.in_all = in_all
        self.counted = counted

    def seconds_of(self, options: argparse.Namespace, order: int) -> Mapping[str, float]:
        """Return how long a phase of an order takes in which no memory is filled, by its name."""
        return self.seconds if self.asked is None else self.asked(options, order)

    def fills_of(self, options: argparse.Namespace, phase: str) -> int:
        """Return how often a process fills the memory in a phase."""
        return int(getattr(options, self.fills[phase][0])) if phase in self.fills else 0

    def parts(self) -> list[Part]:
        """Return what has options: its patterns, what it shares with others, and itself."""
        patterns = pattern.every()
        own = Part(self.name, self.title, self.options, self.check)
        return [
            *(patterns[name].part() for name in self.patterns),
            *self.shared,
            *([own] if self.options or self.check is not all_fits else []),
        ]


def every() -> dict[str, Workload]:
    """Return all workloads by name, the default one first."""
    found = {each.name: each for each in registry.declared(_PACKAGE, "WORKLOAD").values()}
    return {DEFAULT: found.pop(DEFAULT), **found}


def counted() -> list[Counted]:
    """Return what --workload exact measures, in the order of time."""
    return [each.counted for each in every().values() if each.counted is not None]


def chosen(options: argparse.Namespace) -> list[Workload]:
    """Return the workloads of a run, in the order in which they are to be measured."""
    known = every()
    return [known[name] for name in options.workload]


def plan(options: argparse.Namespace) -> list[PlannedPhase]:
    """Return the phases of a run, in the order of time."""
    return [phase for workload in chosen(options) for phase in workload.plan(options)]


def fills(options: argparse.Namespace) -> int:
    """Return how often a run fills the memory."""
    return sum(
        each.fills_of(options, phase) for each in chosen(options) for phase, _ in each.plan(options)
    )
