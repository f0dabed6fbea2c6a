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
    bench_options,
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


def check(
    arch: str,
    bundle: Path | None,
    words: Sequence[str],
    *,
    output: Path | None,
    options: Options,
) -> None:
    """Look at all that can be told before a kernel of ARCH is fetched, or BUNDLE built.

    OUTPUT: None where it is not known yet. Raises UsageError, TargetError and OutputError.
    """
    _check_outputs(output, options.console)
    size = machine.machine(options.cpus, options.nodes, options.memory, arch=arch)
    archive = None if bundle is None else before_boot.open_bundle(bundle)
    if options.counted:
        if archive is None or bench_options.is_of_this_version(archive):
            bench_options.check_counted(words, size)
    elif archive is None:
        before_boot.check_own_options(words, size)
    else:
        before_boot.check_options(archive, words, size)
    before_boot.check_memory(size)
    machine.emulator(arch)


def _check_outputs(output: Path | None, console: Path | None) -> None:
    outputs.refuse_twins((output, console))
    for path in (output, console):
        if path is not None:
            outputs.check(path)


def run(
    kernel: Bootable,
    bundle: Path | None,
    words: Sequence[str],
    *,
    output: Path | None,
    options: Options,
) -> int:
    """Boot KERNEL, run BUNDLE, which is built if it is None, and return its exit status.

    All that check() looks at is well. OUTPUT: None is stdout. Raises UsageError for what can be
    told before the boot, TargetError, OutputError and PackagerError.
    """
    _check_outputs(output or Path("-"), options.console)
    if options.counted:
        bootable.require_serial(kernel)
    else:
        kernel.boots.choose(options.reach)
    for need in kernel.poorer:
        note(f"this kernel lacks CONFIG_{need.symbol}: {need.why}")
    with ExitStack() as stack:
        built = bundle is None
        if bundle is None:
            bundle = stack.enter_context(Kept("guest")) / "bench.run"
            _build(kernel, bundle)
        archive = before_boot.open_bundle(bundle)
        arch = _MACHINES[kernel.arch]
        advice = "leave the bundle out, and one is built"
        before_boot.require_module(archive, kernel.release, str(kernel.image), advice, arch)
        if not built:
            before_boot.require_build(archive, kernel.release, kernel.build(), words, arch)
        if options.counted:
            return vm_exact.run(kernel, bundle, words, output=output, options=options)
        return by_reach.run_bundle(
            kernel.boots,
            bundle,
            words,
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
