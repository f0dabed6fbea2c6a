# SPDX-License-Identifier: GPL-2.0-only
"""The sides of `ab --base --new`: kernels of the list, built trees and images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from page_alloc_bench.campaign.journal import Journal
from page_alloc_bench.cli.ab_verdict import Comparison, Pair
from page_alloc_bench.cli.exact_sides import Side
from page_alloc_bench.targets import bootable, kernel_bundle
from page_alloc_bench.targets.bootable import Bootable
from page_alloc_bench.targets.cache import note

_PLANNED = (
    "base", "cmdline_base", "cmdline_new", "memory", "by_function", "bench_options",
)  # fmt: skip


def comparison(journal: Journal, options: dict[str, Any]) -> Comparison:
    """Return what is to be compared with what; write the plan."""
    plan = {name: options[name] for name in _PLANNED}
    plan |= {"new": list(options["news"]), "mode": "exact"}
    base, *news = (bootable.find(text) for text in (options["base"], *options["news"]))
    names = ["new"] if len(news) == 1 else [f"new{number}" for number in range(1, len(news) + 1)]
    if journal.begin({**plan, "kernels": [identity(each) for each in (base, *news)]}):
        note(f"going on with {journal.directory}")
    named = [("base", base, plan["cmdline_base"])]
    named += [(name, kernel, plan["cmdline_new"]) for name, kernel in zip(names, news)]
    built = bundles(journal.directory, [kernel for _, kernel, _ in named])
    sides = [
        Side(name, kernel.label, kernel.image, kernel.arch, built[kernel.label], plan, cmdline)
        for name, kernel, cmdline in named
    ]
    return Comparison(sides, [Pair("base", name) for name in names])


def identity(kernel: Bootable) -> dict[str, Any]:
    """Return what a plan says of a kernel."""
    status = kernel.image.stat()
    return {"release": kernel.release, "image": [status.st_size, int(status.st_mtime)]}


def bundles(directory: Path, wanted: Sequence[Bootable]) -> dict[str, Path]:
    """Build a bundle for each kernel, unless the directory has it; return them by label."""
    made: dict[str, Path] = {}
    for kernel in wanted:
        if kernel.label in made:
            continue
        path = directory / f"bundle-{len(made)}.run"
        if not path.exists():
            kernel_bundle.build(kernel, path)
        made[kernel.label] = path
    return made
