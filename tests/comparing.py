# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of compare share: recorded runs of two sides, changed, and their comparison."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import recorded
from page_alloc_bench.analysis import compare as engine
from page_alloc_bench.analysis import results
from page_alloc_bench.analysis.compare import Comparison
from page_alloc_bench.cli import main


def slim(documents: list[recorded.Document]) -> list[recorded.Document]:
    """Cut the samples short: reading them takes half of the time, and their histograms are left."""
    return [
        {name: of[:100] if "_latencies_ns" in name else of for name, of in document.items()}
        for document in documents
    ]


DOCUMENTS = slim(recorded.documents(recorded.BASE))


Change = Callable[[recorded.Document], Any]


def copy(document: recorded.Document, change: Change | None = None) -> recorded.Document:
    made: recorded.Document = json.loads(json.dumps(document))
    if change:
        change(made)
    return made


def compared(base: Path, new: Path, **options: Any) -> Comparison:
    return engine.compare(results.load_all([base]), results.load_all([new]), **options)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def run_of(path: str, value: Any) -> Change:
    """Return a change of one fact, by its place under run."""
    *parents, last = path.split("/")

    def change(document: recorded.Document) -> None:
        place = document["run"]
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        place[last] = value

    return change


def available(mib: int) -> Change:
    """Return a change of what was available before each idle iteration: so many MiB of it."""

    def change(document: recorded.Document) -> None:
        for order in (0, 4):
            document[f"idle_memavailable_bytes_order{order}"] = [mib << 20] * 3
        for entry in document["run"].get("iterations", []):
            entry["memory_before"] = {"pcp_bytes": 10 << 20}

    return change


def fails(count: int) -> Change:
    def change(document: recorded.Document) -> None:
        document["kernel_alloc_failures_order0"] = [count + document["run"]["seed"] % 7]

    return change


INVALIDATING = {
    "parameters.held": run_of("parameters/held", 301),
    "parameters.thp": run_of("parameters/thp", "never"),
    "parameters.iterations": run_of("parameters/iterations", 5),
    "machine.memory": run_of("machine/memory_bytes", 2 << 30),
    "machine.cpus_used": run_of("machine/cpus_used", "0"),
    "machine.cpu_model": run_of("machine/cpu_model", "AMD EPYC 9965"),
    "machine.hypervisor": run_of("machine/hypervisor", None),
    "machine.nodes": lambda d: d["run"]["machine"]["nodes"].append(
        {"node": 2, "cpus": "", "memory_bytes": 0, "distances": None}
    ),
    "machine.clocksource": run_of("machine/clocksource", "tsc"),
    "machine.page_size": run_of("kernel/page_size_bytes", 65536),
    "machine.architecture": run_of("kernel/machine", "aarch64"),
    "governor": run_of("machine/governors", ["powersave"]),
    "swap": run_of("machine/swap_bytes", 1 << 30),
    "thp.enabled": run_of("machine/thp/enabled", "never"),
    "debug.DEBUG_VM": run_of("kernel/config/options/DEBUG_VM", "y"),
    "debug.KASAN": run_of("kernel/config/options/KASAN", "y"),
    "debug.PROVE_LOCKING": run_of("kernel/config/options/PROVE_LOCKING", "y"),
    "tool.module": run_of("bundle/source/kmod", "0" * 64),
    "incomplete": run_of("complete", False),
}
