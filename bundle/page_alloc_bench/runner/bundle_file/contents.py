# SPDX-License-Identifier: GPL-2.0-only
"""What a run takes out of its bundle, and what it records of bundle and host.

To be called in a child process: it takes more memory than a run is to have.
"""

from __future__ import annotations

import os
from typing import Any

from page_alloc_bench.runner.inherited import table
from page_alloc_bench.runner.kernel import host_facts

from . import target_build
from .archive import Archive, NoModuleError, open_archive


def look_around(cpus: list[int], built: dict[str, Any] | None) -> dict[str, Any]:
    """Return the facts of bundle and host.

    built: the entry of the module, if it was compiled here; the manifest gets it too.
    """
    bundle = open_archive()
    manifest = bundle.manifest()
    if built:
        manifest["modules"].append(built)
    return {
        "boot_id": host_facts.boot_id(),
        "host_id": host_facts.host_id(),
        "bundle": manifest,
        "python": host_facts.python(),
        "kernel": host_facts.kernel(built or _entry(bundle)),
        "machine": host_facts.machine(cpus),
        "inherited": table.look(),
    }


def module_for_this_kernel() -> tuple[bytes, dict[str, Any]]:
    """Return the module for the running kernel and its entry in the manifest."""
    bundle = open_archive()
    entry = _entry(bundle)
    return bundle.module(entry), entry


def sources_if_needed() -> dict[str, bytes] | None:
    """Return the module's source, None if the bundle holds a module for the running kernel."""
    bundle = open_archive()
    try:
        _entry(bundle)
    except NoModuleError:
        return target_build.sources_of(bundle.names(), bundle.read)
    return None


def _entry(bundle: Archive) -> dict[str, Any]:
    """Return the manifest's entry of the module for the running kernel."""
    uname = os.uname()
    return bundle.entry(uname.release, uname.machine)
