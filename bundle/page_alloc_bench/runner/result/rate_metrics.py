# SPDX-License-Identifier: GPL-2.0-only
"""The metrics of a workload that measures rates: the same of each, under its name."""

from __future__ import annotations

from .counted_metrics import counts
from .event_metrics import events
from .latency_metrics import latencies
from .metrics import Kind, Metric, Phase, Rank, Subtest

# The path that an operation took: what the module times apart, whether its latencies have a row in
# the summary, and what it is.
PATHS = (
    ("hit_alloc", False, "found the block on the list of the CPU"),
    ("refill_alloc", True, "refilled the list of the CPU from the zone"),
    ("bypass_alloc", False, "left the list of the CPU as it was"),
    ("fallback_alloc", False, "got a block of another zone than the first to be asked"),
    ("put_free", False, "put the block on the list of the CPU"),
    ("drain_free", True, "gave blocks back to the zone"),
)

_OF_ALL = "timed {value:,} of {whole:,} allocations"
_CASES = " The case says what else was chosen: run.workloads."


def phase(workload: str) -> Phase:
    """Return the phase in which a workload measures an order, and the subtest that it decides."""
    balance = (f"{workload}_allocs_per_cpu", f"{workload}_frees_per_cpu")
    lost = "{lost} blocks were allocated and not freed"
    subtest = Subtest(workload, balance, lost, "not on this host or kernel, see run.workloads")
    return Phase(workload, (subtest,), measured=True, types=("before", "after"))


def rates(workload: str, *, counted: bool = True, timed: str = "") -> tuple[Metric, ...]:
    """Return the metrics of a workload that measures rates.

    counted: whether --workload exact measures it too. timed: what is timed as an allocation, if
    that is not a block.
    """
    allocs, frees = f"{workload}_allocs", f"{workload}_frees"
    return (
        *_throughput(workload, allocs),
        *_counts(workload, allocs, frees),
        *(counts(workload) if counted else ()),
        *events(workload),
        *latencies(
            f"{workload}_alloc", f"{timed or 'allocations'} in {workload}",
            label=f"{workload}: allocation",
            short=f"{workload} alloc"[:12], key=f"{workload}-alloc", rank=Rank.PRIMARY,
            of=() if timed else (allocs,), subtest=workload,
            remark=f"timed {{value:,}} {timed}" if timed else _OF_ALL,
        ),
        *latencies(
            f"{workload}_free", f"frees in {workload}", label=f"{workload}: free",
            short=f"{workload} free"[:12], key=f"{workload}-free", rank=Rank.PRIMARY,
            of=(frees,), subtest=workload,
        ),
        *(metric for path in PATHS for metric in _of_path(workload, timed, *path)),
        Metric(
            f"{workload}_refill_cost_ps", "ps", "lower",
            f"What refills cost each of the {timed or 'allocations'} in {workload}: the time of all"
            " timed ones that refilled the list of a CPU, per timed one of any kind; one item.",
            Kind.AMOUNT, f"{workload}: refills per allocation", family=f"{workload} refill",
            rank=Rank.SHOWN, subtest=workload,
        ),
    )  # fmt: skip


def _of_path(workload: str, timed: str, path: str, in_table: bool, what: str) -> tuple[Metric, ...]:
    """Return the metrics of the operations that took a path."""
    kind, _, operation = path.partition("_")
    plural = {"alloc": timed or "allocations", "free": "frees"}[operation]
    of = () if timed and operation == "alloc" else (f"{workload}_{operation}s",)
    name = f"{workload}_{path}"
    return (
        Metric(
            f"{name}_ppm", "ppm", None,
            f"Of a million {plural} in {workload}, those that {what}: of those that were timed; one"
            " item.",
            Kind.AMOUNT, f"{workload}: {kind} share", subtest=workload,
            section=f"{workload}-paths", remark="{value:,} ppm of " + f"{plural} {kind}",
            remark_of_none=False,
        ),
        *latencies(
            name, f"{plural} in {workload} that {what}", label=f"{workload}: {kind}",
            short=f"{workload} {kind}"[:12], key=name.replace("_", "-"), rank=Rank.SHOWN,
            of=of, subtest=workload, in_table=in_table, sampled=False,
        ),
    )  # fmt: skip


def short_calls(workload: str) -> Metric:
    """Return the metric of calls that get less than they ask for."""
    return Metric(
        f"{workload}_short_calls", "calls", None,
        f"Calls in {workload} that got fewer pages than they asked for; one item.",
        Kind.COUNT, f"{workload}: short calls", section=f"{workload}-failures",
        subtest=workload, remark="{value:,} calls got less than they asked for",
        remark_of_none=False,
    )  # fmt: skip


def rings(workload: str) -> tuple[Metric, ...]:
    """Return the metrics of one that hands blocks over to other CPUs."""
    full, cost = f"{workload}_ring_full", f"{workload}_ring_cost_ps"
    return (
        Metric(
            full, "blocks", "lower",
            f"Of {workload}_allocs, the blocks that the CPU that allocated them freed, because the"
            " other one was behind and the ring to it was full; one item.",
            Kind.SHARE, f"{workload}: ring full", f"{workload} full"[:12],
            of=(f"{workload}_allocs",), family=f"{workload} share", rank=Rank.SHOWN,
            section=f"{workload}-throughput", subtest=workload,
            remark="{share:.2f} % freed where allocated: ring full", remark_of_none=False,
        ),
        Metric(
            cost, "ps", None,
            "What a block's way through the ring costs by itself: CPU time of all workers together"
            " per block, while they hand over what is not a block; one item per repetition. Part of"
            f" the time that {workload}_allocs_per_second tells.",
            Kind.AMOUNT, f"{workload}: cost of the ring", per="iteration", subtest=workload,
        ),
    )  # fmt: skip


def _throughput(workload: str, allocs: str) -> tuple[Metric, ...]:
    rate = f"{allocs}_per_second"
    return (
        Metric(
            rate, "blocks/s", "higher",
            f"Allocations per second of all CPUs together in {workload}, each freed again; one item"
            " per repetition." + _CASES,
            Kind.RATE, f"{workload}: allocation rate", f"{workload} rate"[:12], per="iteration",
            counts=allocs, family=f"{workload} rate", rank=Rank.PRIMARY, in_table=True,
            section=f"{workload}-throughput", subtest=workload,
        ),
        Metric(
            f"{rate}_per_cpu", "blocks/s", None,
            f"{rate} of each CPU, in the order of run.cpus, over all repetitions; 0 of a CPU that"
            " did not allocate.",
            Kind.AMOUNT, f"{workload}: allocation rate of each CPU", per="cpu", counts=rate,
        ),
        Metric(
            f"{workload}_duration_ns", "ns", None,
            f"How long {rate} was measured, without the warm-up; one item per repetition.",
            Kind.AMOUNT, f"{workload}: time measured", per="iteration",
        ),
    )  # fmt: skip


def _counts(workload: str, allocs: str, frees: str) -> tuple[Metric, ...]:
    failures, remote = f"{workload}_alloc_failures", f"{allocs}_remote"
    return (
        Metric(
            allocs, "blocks", None,
            f"Successful allocations in {workload} on all CPUs, over all repetitions, warm-up and"
            " end too; one item. A block is 2^order pages.",
            Kind.COUNT, f"{workload}: allocations", subtest=workload,
        ),
        Metric(
            frees, "blocks", None,
            f"Blocks that were freed in {workload}; one item. Equals {allocs} unless memory was"
            " lost.",
            Kind.COUNT, f"{workload}: frees", subtest=workload,
        ),
        Metric(
            failures, "allocations", "lower",
            f"Allocations in {workload} that got nothing; one item.",
            Kind.SHARE, f"{workload}: failures", f"{workload} fail"[:12], of=(allocs, failures),
            family=f"{workload} share", rank=Rank.SHOWN, section=f"{workload}-failures",
            subtest=workload, remark="{value:,} allocations failed", remark_of_none=False,
        ),
        Metric(
            remote, "blocks", "lower",
            f"Of {allocs}, the blocks whose node is not the nearest node with memory of the CPU"
            " that asked; one item.",
            Kind.SHARE, f"{workload}: remote allocations", f"{workload} remote"[:12], of=(allocs,),
            family=f"{workload} share", rank=Rank.SHOWN, section=f"{workload}-throughput",
            subtest=workload, remark="{whole:,} in all, {share:.2f} % remote",
        ),
        *(_of_each_cpu(name, unit) for name, unit in (
            (allocs, "blocks"), (frees, "blocks"), (failures, "allocations"), (remote, "blocks"),
        )),
    )  # fmt: skip


def _of_each_cpu(name: str, unit: str) -> Metric:
    return Metric(
        f"{name}_per_cpu", unit, None,
        f"{name} of each CPU, in the order of run.cpus; 0 of a CPU that did not allocate.",
        Kind.COUNT, f"{name.replace('_', ' ')} of each CPU", per="cpu", counts=name,
    )  # fmt: skip
