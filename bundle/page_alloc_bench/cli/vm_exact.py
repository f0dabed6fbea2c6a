# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench vm --exact``: one boot of a kernel of the list, counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from page_alloc_bench import outputs
from page_alloc_bench.targets import before_boot, exact, kernels
from page_alloc_bench.targets.cache import note


def run(
    bundle: Path,
    bench_options: Sequence[str],
    *,
    kernel: str,
    memory: str | None,
    output: Path | None,
    console: Path | None,
    by_function: bool,
) -> int:
    """Boot KERNEL, run BUNDLE's workload exact, and write the result; return 0.

    OUTPUT: None is stdout. CONSOLE: what gets the kernel's console, if it is asked for. Raises
    UsageError, TargetError and OutputError.
    """
    archive = before_boot.open_bundle(bundle)
    outputs.refuse_twins((output or Path("-"), console))
    for path in (output, console):
        if path is not None:
            outputs.check(path)
    fetched = kernels.fetch(kernel)
    before_boot.check_module(archive, fetched)
    said: list[str] = []
    try:
        document = exact.measure(
            bundle,
            fetched.vmlinuz,
            fetched.kernel.arch,
            bench_options,
            memory=memory or exact.MEMORY,
            by_function=by_function,
            on_line=note,
            console=said.append,
        )
    finally:
        if console is not None:
            outputs.write(console, "".join(said).encode(errors="replace"))
    outputs.write(output or Path("-"), (json.dumps(document, indent=1) + "\n").encode())
    return 0
