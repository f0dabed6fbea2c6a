# SPDX-License-Identifier: GPL-2.0-only
"""The metrics about one timed operation, which every pattern has for each of its operations."""

from __future__ import annotations

from .metrics import Kind, Metric, Rank

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
) -> tuple[Metric, ...]:
    """Return the metrics about a timed operation.

    operation: begins their names. plural: of the operation, for sentences. label, short: of one.
    key: a word for it in names of files. of: the metrics that count all of them, timed or not.
    remark: of the number of those timed. subtest: of KTAP that tells them. in_table: whether the
    summary has a row of them. sampled: whether a sample is kept.
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
