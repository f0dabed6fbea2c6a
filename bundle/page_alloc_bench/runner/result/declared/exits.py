# SPDX-License-Identifier: GPL-2.0-only
"""What the workload exits measures."""

from __future__ import annotations

from page_alloc_bench.runner.result import user_metrics
from page_alloc_bench.runner.result.metrics import Kind, Metric, Rank

PHASES = (user_metrics.phase("exits"),)
METRICS = (
    *user_metrics.throughput(
        "exits", "pages freed", "pages of processes that were killed together",
        "From the first kill until all processes were dead",
    ),
    Metric(
        "exits_bare_ns", "ns", None,
        "The same of as many processes that have no memory of their own: what of exits_duration_ns"
        " is not about memory; one item per repetition.",
        Kind.AMOUNT, "exits: processes without memory", "exits bare", per="iteration",
        in_table=True, section="exits-throughput", subtest="exits",
    ),
    Metric(
        "exits_back_ns", "ns", "lower",
        "From the first kill until 98 % of the memory was seen to be free, with what is on the"
        " lists of each CPU; one item per repetition.",
        Kind.AMOUNT, "exits: until the memory was free", "exits back", per="iteration",
        family="exits time", rank=Rank.SHOWN, in_table=True, section="exits-throughput",
        subtest="exits",
    ),
    *user_metrics.kernels("exits", "freed", "pgfree"),
)  # fmt: skip
