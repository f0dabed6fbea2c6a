# SPDX-License-Identifier: GPL-2.0-only
"""Results of the benchmark that this one descends from: a JSON object of its metrics, and no facts.

What it measured wrongly is left out: it ran every worker on CPU 0, so that half of its remote
allocations were none, and it added a constant to each latency of a free. What it did not record,
on which kernel and machine it ran, is unknown; results of it are told apart by their files alone.
"""

from __future__ import annotations

from typing import Any

from page_alloc_bench.runner.result import document as runner
from page_alloc_bench.runner.result.case import split_key

TOOL = "the ancestor"
_UNKNOWN = "unknown"
_RIGHT = (
    "idle_available_bytes",
    "antagonized_available_bytes",
    "kernel_page_allocs",
    "kernel_alloc_failures",
    "kernel_page_alloc_latencies_ns",
)
_WRONG = ("kernel_page_allocs_remote", "kernel_page_free_latencies_ns")


def adopt(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the ancestor's result would be as one of ours; None if it is not the ancestor's.

    Arrays may be null there, where nothing was measured.
    """
    if "run" in document or not document:
        return None
    adopted = {}
    for key, values in document.items():
        name = _name(key)
        if name in _RIGHT:
            adopted[key] = [] if values is None else values
        elif name not in _WRONG:
            return None
    return {"run": _run(sorted({key.rpartition("_order")[2] for key in adopted})), **adopted}


def _name(key: str) -> str | None:
    try:
        return split_key(key)[0]
    except ValueError:
        return None


def _run(orders: list[str]) -> dict[str, Any]:
    """Return facts that say that nothing is known."""
    left_out = " and ".join(_WRONG)
    return {
        "schema_version": runner.SCHEMA_VERSION,
        "tool_version": TOOL,
        "complete": True,
        "bundle": {},
        "kernel": {
            "release": _UNKNOWN,
            "version": _UNKNOWN,
            "machine": _UNKNOWN,
            "cmdline": None,
            "taint": None,
            "page_size_bytes": 4096,
            "config": {"path": None, "sha256": None, "options": None, "reason": _UNKNOWN},
        },
        "machine": {
            "cpus_used": _UNKNOWN,
            "memory_bytes": 0,
            "nodes": [],
            "clocksource": None,
        },
        "parameters": {"alloc_orders": [int(order) for order in orders]},
        "phases": [],
        "iterations": [],
        "warnings": [
            f"this is a result of the ancestor: {left_out} are left out, which it measured "
            "wrongly, and so is its summary of rates; the kernel, the machine and the options are "
            "unknown"
        ],
    }
