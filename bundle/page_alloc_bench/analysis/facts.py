# SPDX-License-Identifier: GPL-2.0-only
"""What is known of a run besides its measurements, as flat names and values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

Value = str | int | float | bool

# Not facts but logs; and the list of the bundle's files, of which the digests of source say enough.
_LEFT_OUT = (
    "bundle.modules",
    "bundle.parts",
    "clocks",
    "estimate",
    "iterations",
    "phases",
    "warnings",
)

# What every run has of its own, also on the same kernel and host: it tells nothing of a setting.
_OF_A_RUN = (
    "boot_id",
    "ended.*",
    "exact.seconds",
    "exact.seconds.*",
    "machine.load_average",
    "machine.memory_available_bytes",
    "machine.nodes.*.memory_bytes",
    "machine.nodes.*.memory_free_bytes",
    "machine.sysctl_vm.admin_reserve_kbytes",
    "machine.sysctl_vm.user_reserve_kbytes",
    "machine.uptime_s",
    "parameters.seed",
    "pcp.*",
    "preflight.*",
    "seed",
    "stall.*",
    "started_at",
    "warnings",
    "where.*",
    "workloads.*",
)

# Those that tell runs apart; what rows of an export carry unless others are asked for.
CHIEF = (
    "started_at",
    "complete",
    "kernel.release",
    "kernel.cmdline",
    "machine.cpus_used",
    "machine.memory_bytes",
    "machine.thp.enabled",
)


def flatten(run: dict[str, Any]) -> dict[str, Value]:
    """Return the facts of a run by dotted names, such as kernel.config.options.KASAN.

    What is null in the result is absent; lists are JSON text, but for lists of objects, whose
    items are numbered from 0. warnings is how many there are.
    """
    facts = dict(_flatten("", run))
    facts["warnings"] = len(run["warnings"])
    return facts


def _flatten(name: str, value: Any) -> Iterator[tuple[str, Value]]:
    if value is None or name in _LEFT_OUT:
        return
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(f"{name}.{key}" if name else str(key), item)
    elif isinstance(value, list):
        yield name, json.dumps(value)
    else:
        yield name, value


def is_of_a_run(name: str) -> bool:
    """Return whether a fact may be another in each run of one kernel on one host."""
    return any(fnmatchcase(name, pattern) for pattern in _OF_A_RUN)


def text(value: Value | None) -> str:
    """Return a fact as text: true and false as in the result, nothing for what is not known."""
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool) else str(value)


def column(name: str) -> str:
    """Return the name of a fact as that of a column, which nobody has to quote."""
    return name.replace(".", "_")
