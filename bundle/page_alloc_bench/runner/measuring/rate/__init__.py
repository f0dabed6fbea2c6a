# SPDX-License-Identifier: GPL-2.0-only
"""Workloads that measure how fast the allocator works: they fill no memory.

Such a workload is a pattern of the module. rate.workload() declares it, measured.py measures it,
result/rate_metrics.py has what it measures.
"""

from __future__ import annotations

from page_alloc_bench.runner.command_line.lists import ALL, Modified, Steps
from page_alloc_bench.runner.command_line.option import Flag, Integer, Option, Part, Seconds
from page_alloc_bench.runner.errors import UsageError
from page_alloc_bench.runner.workload import Counted, Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from page_alloc_bench.runner.measuring.bench import Bench, PlannedPhase

    CountedCase = Callable[[int, int, int], "tuple[dict[str, int], int] | None"]
    # From the options, the order and the pages that the list of a CPU holds at most: what is
    # chosen, as axes of a case, and the pattern's parameters.
    Variants = Callable[[Namespace, int, int], Iterable[tuple[dict[str, str], dict[str, int]]]]
    # From what is chosen, the options and the CPUs: whom each CPU that works hands its blocks to.
    PeersOf = Callable[[Mapping[str, str], Namespace, Sequence[int]], Mapping[int, int]]

# As enum pab_gfp has them, in lower case.
GFP = ("kernel", "user", "nowait", "atomic")
# As enum pab_gfp_modifier has them.
MODIFIERS = ("comp", "account", "zero", "thisnode")
WARM_UP_S = 1.0
OWN_COST_S = 1.0
CALIBRATION_S = 0.1  # what a worker's look at its clock takes at most, before its pattern begins
_SLICES = 10
_AROUND_S = 0.2  # of a measurement: workers are made and ended, latencies read


def warm_up_s(options: Namespace) -> float:
    """Return how long the workers run before they are measured."""
    return min(WARM_UP_S, float(options.duration_s))


def slices(options: Namespace) -> int:
    """Return by how many slices of time, of a second or more, latencies are told."""
    return max(1, min(_SLICES, int(options.duration_s)))


def own_cost_s(options: Namespace) -> float:
    """Return how long what a pattern costs by itself is measured."""
    return min(OWN_COST_S, float(options.duration_s))


def _check(options: Namespace) -> str | None:
    return None if options.duration_s else "--duration-s=0 measures nothing"


SHARED = Part(
    "rates",
    "workloads that measure rates",
    (
        Option(
            "duration_s",
            Seconds(),
            5.0,
            "how long a measurement takes, after a warm-up of 1 s, or of the same time if that is "
            "less",
            metavar="SECONDS",
            unit="seconds",
            kind="other",
            always=False,
            quick=2.0,
        ),
        Option(
            "repeat",
            Integer(1, 10_000),
            3,
            "how often each is measured",
            metavar="N",
            kind="other",
            always=False,
            quick=1,
        ),
    ),
    _check,
)
STEPS = Part(
    "steps",
    "workloads that measure rates",
    (
        Option(
            "cpus_steps",
            Steps(),
            [ALL],
            "on how many of the CPUs at the same time, one number after the other, like 1,2,4,all",
            metavar="LIST",
            kind="invalidating",
            always=False,
        ),
    ),
)
COUNTERS = Part(
    "counters",
    "workloads that measure rates",
    (
        Option(
            "counters",
            Flag(),
            False,
            "measure each once more while the kernel and the CPUs count events, such as pages that "
            "pass the zone's lock; this switches tracepoints on",
            kind="other",
            always=False,
        ),
    ),
)
ASKED = Part(
    "asked",
    "workloads that measure rates",
    (
        Option(
            "gfp",
            Modified(GFP, MODIFIERS),
            ["kernel"],
            f"how pages are asked for, one after the other: {', '.join(GFP)}, each with any of "
            f"{', '.join(MODIFIERS)}, like user+comp",
            metavar="LIST",
            kind="invalidating",
            always=False,
        ),
    ),
)

# Nothing is killed, nothing swapped, and no memory of a process is measured.
CHECKS = frozenset(
    {
        "cpuset", "cpu-affinity", "pid-namespace", "user-namespace",
        "kernel-files", "capabilities", "inherited", "softlockup-panic", "rcu-stall-panic",
        "hardlockup-panic", "panic-on-warn", "offline-cpus", "isolated-cpus", "memoryless-nodes",
        "output-room", "held-memory", "slub-debug", "kernel-config", "governor", "turbo",
        "clocksource", "ticking-clock", "timeout", "load",
    }
)  # fmt: skip


def fits(options: Namespace, cpus: Sequence[int]) -> None:
    """Raise UsageError for a step of more CPUs than a run has."""
    for step in options.cpus_steps:
        if step != ALL and int(step) > len(cpus):
            raise UsageError(
                f"--cpus-steps {step}: this run has {len(cpus)} CPU(s). Give less, or more --cpus"
            )


class Peers:
    """Whom CPUs hand their blocks to.

    of: see PeersOf; none where the CPUs do not allow what is chosen, which absent says. The
    pattern has a parameter fake, by which it hands over what is not a block.
    """

    def __init__(self, of: PeersOf, absent: str) -> None:
        self.of = of
        self.absent = absent


def workload(
    name: str,
    *,
    isolates: str,
    variants: Variants,
    options: tuple[Option, ...] = (),
    pattern: str = "",
    peers: Peers | None = None,
    pages_only: bool = False,
    shortfall: str = "",
    needs: str = "",
    counted: CountedCase | None = None,
) -> Workload:
    """Return a workload of a pattern, the one of its own name if none is given.

    pages_only: whether the pattern knows order 0 only. shortfall: the metric, after the workload's
    name, of what the module counts as such. needs: of a host, besides memory. counted: what
    --workload exact measures of it, see Counted; if nothing is given, the first variant that the
    defaults of the options give. What needs several CPUs is not counted.
    """
    of = _Rate(name, Made(pattern or name, variants, peers, pages_only, shortfall))
    return Workload(
        name=name,
        title=name,
        isolates=isolates,
        options=options,
        patterns=(pattern or name,),
        plan=of.plan,
        run=of.run,
        seconds={},
        checks=CHECKS,
        asked=of.seconds,
        shared=(SHARED, STEPS, COUNTERS, ASKED),
        cases=of.cases,
        held=of.held,
        fits=fits,
        needs=(f"{needs}; " if needs else "")
        + "a quarter of the available memory at most; fills nothing",
        counted=None if peers else Counted(name, pattern or name, counted or of.counted),
    )


class Made:
    """What a workload is made of: see workload()."""

    def __init__(
        self,
        pattern: str,
        variants: Variants,
        peers: Peers | None,
        pages_only: bool,
        shortfall: str,
    ) -> None:
        self.pattern = pattern
        self.variants = variants
        self.peers = peers
        self.pages_only = pages_only
        self.shortfall = shortfall


class _Rate:
    """What a workload answers from the options."""

    def __init__(self, name: str, made: Made) -> None:
        self._name = name
        self._made = made

    def plan(self, options: Namespace) -> list[PlannedPhase]:
        """Return the phases: one for each order."""
        from page_alloc_bench.runner.measuring.bench import PlannedPhase

        return [PlannedPhase(self._name, order) for order in options.alloc_orders]

    def run(self, bench: Bench) -> None:
        """Measure."""
        from .measured import Rates

        Rates(bench, self._name, self._made).run()

    def counted(self, order: int, _blocks: int, allocs: int) -> tuple[dict[str, int], int]:
        """Return the first variant by default, see Counted."""
        from argparse import Namespace

        from page_alloc_bench.runner import pattern

        options = pattern.every()[self._made.pattern].options
        defaults = Namespace(**{option.name: option.default for option in options})
        _, parameters = next(iter(self._made.variants(defaults, order, 0)))
        return parameters, allocs

    def cases(self, options: Namespace) -> int:
        """Return how many cases there are of each order."""
        several = len(list(self._made.variants(options, 0, 0)))
        return several * len(options.gfp) * len(options.cpus_steps)

    def seconds(self, options: Namespace, order: int) -> dict[str, float]:
        """Return how long an order takes; no time if the pattern does not know it."""
        if self._made.pages_only and order:
            return {self._name: 0.0}
        each_s = warm_up_s(options) + options.duration_s + _AROUND_S
        if self._made.peers:
            each_s += own_cost_s(options) + _AROUND_S
        return {self._name: each_s * (options.repeat + options.counters) * self.cases(options)}

    def held(self, options: Namespace, cpus: Sequence[int]) -> list[int]:
        """Return how much each case may hold, in bytes."""
        from page_alloc_bench.runner.kernel import cpu_lists

        from . import cases

        high = cpu_lists.high_pages(cpu_lists.read(), cpus)
        return [
            each.held_bytes
            for order in options.alloc_orders
            for each in cases.measurements(options, order, self._made, cpus=cpus, high=high)
            if not each.absent
        ]
