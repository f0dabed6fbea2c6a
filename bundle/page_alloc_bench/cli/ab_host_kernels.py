# SPDX-License-Identifier: GPL-2.0-only
"""The sides of `ab --host`: releases that are installed there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page_alloc_bench.cli import ab_timed
from page_alloc_bench.targets.host.facts import Facts, HostKernel
from page_alloc_bench.targets.process import UsageError


@dataclass(frozen=True)
class Chosen:
    """A side's kernel on the host, and its bundle. about: what a plan says of it."""

    kernel: HostKernel
    words: str
    bundle: Path
    about: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Return what people call it."""
        return f"{self.kernel.release}, {self.words}" if self.words else self.kernel.release


def named(facts: Facts, options: Mapping[str, Any]) -> dict[str, Chosen]:
    """Return the kernels that --base and --new name. Raises UsageError."""
    bundles = _bundles(options["bundles"])
    words = words_of(options)
    found = {}
    for side, name in ab_timed.names(options).items():
        kernel = facts.kernels.get(name)
        if kernel is None:
            there = ", ".join(sorted(facts.kernels)) or "none"
            raise UsageError(
                f"{name!r} is not in /boot of the host with its modules in /lib/modules (there "
                f"are: {there})"
            )
        found[side] = _installed(kernel, facts["machine"], bundles, words[side])
    return found


def words_of(options: Mapping[str, Any]) -> dict[str, str]:
    """Return what each side's command line has besides."""
    new = "cmdline_base" if options["aa"] else "cmdline_new"
    return {"base": options["cmdline_base"], "new": options[new]}


def _installed(kernel: HostKernel, machine: str, bundles: Mapping[str, Path], words: str) -> Chosen:
    release = kernel.release
    bundle = bundles.get(f"{release} {machine}")
    if bundle is None:
        raise UsageError(
            f"no bundle has a module for {release}: give --bundles DIR with one; "
            f"`page-alloc-bench build --kdir /lib/modules/{release}/build` makes it where the "
            "headers are"
        )
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    about = {"release": release, "bundle": digest}
    return Chosen(kernel, words, bundle, about)


def _bundles(place: Path | None) -> dict[str, Path]:
    from page_alloc_bench.fleet import bundles
    from page_alloc_bench.fleet.outcome import FleetError

    try:
        return bundles.by_kernel(place) if place else {}
    except FleetError as error:
        raise UsageError(f"--bundles: {error}") from error
