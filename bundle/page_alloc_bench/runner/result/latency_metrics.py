# SPDX-License-Identifier: GPL-2.0-only
"""The metrics about one timed operation, which every pattern has for each of its operations."""

from __future__ import annotations

from .metrics import Kind, Metric, Per, Rank

_STEP = (
    "How many of the timed {plural} were shorter than the step of the clock that timed them"
    " (run.clocks). Sample and histogram have them as they were read, as 0: their latency is less"
    " than the step, and no more is known of it. One item."
)
_SAMPLE = (
    "A uniform sample over all CPUs of how long {plural} took, at most --sample-size, in random"
    " order. The clock's own cost (run.clocks) is contained."
)
_NO_SAMPLE = "How long {plural} took. No sample is kept: its figures are those of the histogram."


def latencies(
    operation: str,
    plural: str,
    *,
    label: str,
    short: str,
    key: str,
    rank: Rank,
    of: tuple[str, ...] = (),
    remark: str = "",
    contracted: bool = False,
    subtest: str = "latencies",
    in_table: bool = True,
    sampled: bool = True,
    course: bool = True,
) -> tuple[Metric, ...]:
    """Return the metrics about a timed operation.

    operation: begins their names. plural: of the operation, for sentences. label, short: of one.
    key: a word for it in names of files. of: the metrics that count all of them, timed or not.
    remark: of the number of those timed. subtest: of KTAP that tells them. in_table: whether the
    summary has a row of them. sampled: whether a sample is kept. course: whether figures of each
    CPU, and of each slice of time, are kept where a sample is.
    """
    return (
        Metric(
            f"{operation}_latencies_ns", "ns", "lower",
            (_SAMPLE if sampled else _NO_SAMPLE).format(plural=plural),
            Kind.SAMPLE, label, short, operation=operation, family=f"{label} latency", rank=rank,
            in_table=in_table, section=key, subtest=subtest, contracted=contracted,
        ),
        Metric(
            f"{operation}s_timed", "operations", None,
            f"How many {plural} were timed, by --latencies; one item.",
            Kind.TIMED, f"timed {plural}", of=of, operation=operation, remark=remark,
            section="timing",
        ),
        Metric(
            f"{operation}s_below_clock_step", "operations", None, _STEP.format(plural=plural),
            Kind.BELOW_STEP, f"{plural} below the clock's step", operation=operation,
        ),
        Metric(
            f"{operation}_latency_sum_ns", "ns", None,
            f"How long all timed {plural} took together; one item.",
            Kind.SUM, f"time of all timed {plural}", operation=operation,
        ),
        Metric(
            f"{operation}_latency_max_ns", "ns", "lower",
            f"The longest of all timed {plural}; one item, or no such name if none was timed.",
            Kind.MAXIMUM, f"longest of the {plural}", operation=operation,
            family=f"{label} latency", rank=max(rank, Rank.SHOWN),
        ),
        *_histogram(operation, plural),
        *(_course(operation, plural) if sampled and course else ()),
    )  # fmt: skip


def _histogram(operation: str, plural: str) -> tuple[Metric, Metric]:
    return (
        Metric(
            f"{operation}_latency_histogram", "operations", None,
            f"Timed {plural} by how long they took: item i counts those of at least the bounds'"
            " item i and less than its item i + 1. Empty buckets at both ends are left out.",
            Kind.HISTOGRAM, f"timed {plural} by latency", operation=operation,
        ),
        Metric(
            f"{operation}_latency_histogram_bounds_ns", "ns", None,
            "The edges of that histogram's buckets, one more than it has items. Latencies of 2^40"
            " ns and more are in the last possible bucket.",
            Kind.EDGES, f"edges of the buckets of {plural}", operation=operation,
        ),
    )  # fmt: skip


_FEW = " 0: fewer than five timed operations are beyond it, or they are below the clock's step."
_CPU = " of those of each CPU, in the order of run.cpus."


def _course(operation: str, plural: str) -> tuple[Metric, ...]:
    """Return figures of each CPU and of each slice of time."""

    def metric(name: str, unit: str, description: str, per: Per, figure: str) -> Metric:
        return Metric(
            f"{operation}_{name}", unit, None, description, Kind.FIGURE,
            f"{figure or 'slices'} of {plural} by {per}", per=per, operation=operation,
            figure=figure,
        )  # fmt: skip

    def figure(per: Per, which: str, where: str) -> Metric:
        text = f"How long {plural} took: the {which}{where}{_FEW}"
        return metric(f"latency_{which}_ns_per_{per}", "ns", text, per, which)

    return (
        *(figure("cpu", which, _CPU) for which in ("median", "p99")),
        *(figure("slice", which, " of those of a slice of time.") for which in ("median", "p99")),
        metric(
            "latency_max_ns_per_cpu", "ns", f"The longest of the timed {plural}{_CPU}", "cpu", "max"
        ),
        metric(
            "slices_ns", "ns",
            f"How long each slice lasted by which {plural} are told in the order of time: an"
            " iteration, or about a second.",
            "slice", "",
        ),
    )  # fmt: skip
