# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench vm --exact``: one boot of a kernel, counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from page_alloc_bench import outputs
from page_alloc_bench.targets import exact
from page_alloc_bench.targets.bootable import Bootable
from page_alloc_bench.targets.cache import note


class Options(Protocol):
    """What the command line says of the guest; see the options of ``vm``."""

    @property
    def memory(self) -> str:
        """Return --mem."""

    @property
    def cmdline(self) -> str:
        """Return --cmdline."""

    @property
    def console(self) -> Path | None:
        """Return --console: what gets the kernel's console, if it is asked for."""

    @property
    def by_function(self) -> bool:
        """Return --where."""


def run(
    kernel: Bootable,
    bundle: Path,
    bench_options: Sequence[str],
    *,
    output: Path | None,
    options: Options,
) -> int:
    """Boot KERNEL, run BUNDLE's workload exact, and write the result; return 0.

    OUTPUT: None is stdout. Raises TargetError and OutputError.
    """
    said: list[str] = []
    try:
        document = exact.measure(
            bundle,
            kernel.image,
            kernel.arch,
            bench_options,
            cmdline_extra=options.cmdline,
            memory=options.memory,
            by_function=options.by_function,
            on_line=note,
            console=said.append,
        )
    finally:
        if options.console is not None:
            outputs.write(options.console, "".join(said).encode(errors="replace"))
    outputs.write(output or Path("-"), (json.dumps(document, indent=1) + "\n").encode())
    return 0
