# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench vm --kdir`` and ``--image``: one boot of a kernel of the user's own."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page_alloc_bench import outputs
from page_alloc_bench.cli import vm_exact
from page_alloc_bench.targets import (
    accel,
    before_boot,
    bootable,
    by_reach,
    exact,
    kernel_bundle,
    machine,
)
from page_alloc_bench.targets.bootable import Bootable
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.kept import Kept

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # as uname -m says it


@dataclass(frozen=True)
class Options:
    """What the command line says of the guest and its run; see the options of ``vm``."""

    cpus: int
    nodes: int
    memory: str
    root: str
    reach: str
    cmdline: str
    boot_timeout: float | None
    console: Path | None
    counted: bool
    by_function: bool
    accel: str

    @classmethod
    def of(cls, options: Mapping[str, Any], given: Collection[str]) -> Options:
        """Return OPTIONS, of which those GIVEN are not defaults."""
        chosen = {name: options[name] for name in cls.__dataclass_fields__}
        if chosen["counted"]:
            memory = chosen["memory"] if "memory" in given else exact.MEMORY
            chosen |= {"cpus": 1, "nodes": 1, "memory": memory}
        return cls(**chosen)


def run(
    kernel: Bootable,
    bundle: Path | None,
    bench_options: Sequence[str],
    *,
    output: Path | None,
    options: Options,
) -> int:
    """Boot KERNEL, run BUNDLE, which is built if it is None, and return its exit status.

    OUTPUT: None is stdout. Raises UsageError for what can be told before the boot, TargetError,
    OutputError and PackagerError.
    """
    outputs.refuse_twins((output or Path("-"), options.console))
    for path in (output, options.console):
        if path is not None:
            outputs.check(path)
    size = machine.machine(options.cpus, options.nodes, options.memory, arch=kernel.arch)
    before_boot.check_memory(size)
    machine.emulator(kernel.arch)
    if options.counted:
        bootable.require_serial(kernel)
    else:
        kernel.boots.choose(options.reach)
    for need in kernel.poorer:
        note(f"this kernel lacks CONFIG_{need.symbol}: {need.why}")
    with ExitStack() as stack:
        if bundle is None:
            bundle = stack.enter_context(Kept("guest")) / "bench.run"
            _build(kernel, bundle)
        archive = before_boot.open_bundle(bundle)
        if not options.counted:
            before_boot.check_options(archive, bench_options, size)
        before_boot.require_module(
            archive,
            kernel.release,
            str(kernel.image),
            "leave the bundle out, and one is built",
            _MACHINES[kernel.arch],
        )
        if options.counted:
            return vm_exact.run(kernel, bundle, bench_options, output=output, options=options)
        return by_reach.run_bundle(
            kernel.boots,
            bundle,
            bench_options,
            reach=options.reach,
            root=options.root,
            cpus=options.cpus,
            nodes=options.nodes,
            memory=options.memory,
            output=output,
            console=options.console,
            cmdline_extra=options.cmdline,
            boot_timeout=options.boot_timeout,
            accel=accel.chosen(options.accel, kernel.arch),
        )


def _build(kernel: Bootable, bundle: Path) -> None:
    """Build BUNDLE for KERNEL, with all that this needs for a time in its directory."""
    before = tempfile.tempdir
    tempfile.tempdir = str(bundle.parent)
    try:
        kernel_bundle.build(kernel, bundle)
    finally:
        tempfile.tempdir = before
