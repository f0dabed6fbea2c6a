# SPDX-License-Identifier: GPL-2.0-only
"""What the workload exact counts, in a guest where an instruction takes a nanosecond."""

from __future__ import annotations

from collections.abc import Iterator

from page_alloc_bench.runner.result.metrics import Kind, Metric, Rank

_WHAT = {
    "antagonist": "the antagonist's pattern",
    "pairs": "a block that is allocated and freed at once",
    "bursts": "bursts of blocks that are allocated and then freed, the oldest first",
}
_COUNTED = {
    "instructions": ("instructions", "By the clock of a guest that counts them."),
    "atomics": (
        "atomic instructions",
        "By a plugin of QEMU: those with a LOCK prefix, and xchg with memory; of arm64 those of"
        " LSE, and STXR.",
    ),
    "loads": ("loads", "By a plugin of QEMU: reads of memory."),
    "stores": ("stores", "By a plugin of QEMU: writes to memory."),
}


def _counts(pattern: str, what: str) -> Iterator[Metric]:
    for kind, (label, how) in _COUNTED.items():
        yield Metric(
            f"exact_{pattern}_{kind}_per_1000_operations",
            label,
            "lower",
            f"{label.capitalize()} of 1000 operations, each an allocation and a free, in {what}."
            f" {how} One item.",
            Kind.AMOUNT,
            f"{pattern}: {label} of 1000",
            f"{pattern[:4]} {kind[:6]}",
            family=f"exact {label}",
            rank=Rank.PRIMARY if kind == "instructions" else Rank.SHOWN,
            in_table=kind == "instructions",
        )


METRICS = tuple(metric for pattern, what in _WHAT.items() for metric in _counts(pattern, what))
