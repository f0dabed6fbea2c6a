# SPDX-License-Identifier: GPL-2.0-only
"""The metrics of what is counted in a guest where an instruction takes a nanosecond."""

from __future__ import annotations

from .metrics import Kind, Metric, Rank

PHASE = "counted"
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


def counts(name: str) -> tuple[Metric, ...]:
    """Return the metrics of what --workload exact counts under a name."""
    return tuple(
        Metric(
            f"exact_{name}_{kind}_per_1000_operations",
            label,
            "lower",
            f"{label.capitalize()} of 1000 operations, each an allocation and a free, in {name}."
            f" {how} One item.",
            Kind.AMOUNT,
            f"{name}: {label} of 1000",
            f"{name[:4]} {kind[:6]}",
            family=f"exact {label}",
            rank=Rank.PRIMARY if kind == "instructions" else Rank.SHOWN,
            in_table=kind == "instructions",
            subtest=PHASE,
        )
        for kind, (label, how) in _COUNTED.items()
    )
