# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench vm``: run a bundle in a throwaway guest."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from page_alloc_bench import outputs
from page_alloc_bench.cli.common import CONTEXT, OUTPUT, BenchCommand
from page_alloc_bench.cli.kernels import KERNEL
from page_alloc_bench.targets import before_boot, kernels
from page_alloc_bench.targets import machine as machines
from page_alloc_bench.targets import root as roots
from page_alloc_bench.targets import vm as target
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.process import TargetError, UsageError


@click.command(cls=BenchCommand, context_settings=CONTEXT)
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--kernel",
    type=KERNEL,
    metavar="NAME",
    default=kernels.DEFAULT,
    show_default=True,
    help=f"What to boot: {', '.join(row.name for row in kernels.KERNELS if row.boots_roots)}.",
)
@click.option(
    "--root",
    type=click.Choice([root.name for root in roots.ROOTS]),
    default=roots.DEFAULT,
    show_default=True,
    help="The Debian around it, with a Python of its own.",
)
@click.option(
    "--cpus",
    type=click.IntRange(min=1),
    metavar="N",
    default=4,
    show_default=True,
    help="CPUs of the guest.",
)
@click.option(
    "--nodes",
    type=click.IntRange(min=1),
    metavar="N",
    default=2,
    show_default=True,
    help="NUMA nodes.",
)
@click.option(
    "--mem",
    "memory",
    metavar="SIZE",
    default="2G",
    show_default=True,
    help="Memory, divided among the nodes.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE|none|-",
    help="Where to put the result as JSON.  [default: stdout, or on a terminal "
    "page-alloc-bench-RELEASE-TIME.json]",
)
@click.option(
    "--console",
    type=OUTPUT,
    metavar="FILE",
    help="Write the guest's serial console there, however the run ends.",
)
@click.option(
    "--exact",
    "counted",
    is_flag=True,
    help="Count the instructions of allocations and frees instead: --workload exact on one CPU, "
    "without disk and network.",
)
@click.option(
    "--where/--no-where",
    "by_function",
    default=True,
    show_default=True,
    help="With --exact, count by function of the kernel too.",
)
@click.argument("bench_options", nargs=-1, type=click.UNPROCESSED)
def vm(
    bundle: Path,
    bench_options: tuple[str, ...],
    *,
    kernel: str,
    cpus: int,
    nodes: int,
    memory: str,
    output: str | None,
    counted: bool,
    by_function: bool,
    **options: Any,
) -> None:
    """Run BUNDLE in a throwaway virtual machine, over ssh, as on a real host.

    BENCH_OPTIONS follow a `--`. The machine's CPUs are emulated: fine for trying, not for figures.

    On a terminal the result is kept as page-alloc-bench-RELEASE-TIME.json in this directory, and
    elsewhere it goes to stdout, unless -o says where; `-o none` keeps none.
    """

    def work() -> int:
        if counted:
            from page_alloc_bench.cli import vm_exact

            source = click.get_current_context().get_parameter_source
            if any(source(name) is not ParameterSource.DEFAULT for name in ("cpus", "nodes")):
                raise UsageError("--exact counts on one CPU and node: leave out --cpus and --nodes")
            return vm_exact.run(
                bundle,
                bench_options,
                kernel=kernel,
                memory=memory if source("memory") is not ParameterSource.DEFAULT else None,
                output=_path(output),
                console=options["console"],
                by_function=by_function,
            )
        machine = machines.machine(cpus, nodes, memory)
        archive = before_boot.open_bundle(bundle)
        before_boot.check_options(archive, bench_options, machine)
        before_boot.check_kernel(kernel)
        for path in (_path(output), options["console"]):
            if path is not None:
                outputs.check(path)
        before_boot.check_memory(machine)
        machines.emulator(machine.arch)  # before a minute of downloads
        fetched = kernels.fetch(kernel)
        before_boot.check_module(archive, fetched)
        return target.run_bundle(
            bundle,
            bench_options,
            kernel=fetched,
            cpus=cpus,
            nodes=nodes,
            memory=memory,
            output=_path(output) if output else _kept(fetched.release, bench_options),
            **options,
        )

    try:
        status = target.interruptible(work)
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    except TargetError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(status)


def _path(output: str | None) -> Path | None:
    """Return what -o means; None is stdout."""
    if output == "none":
        return Path(os.devnull)
    return None if output in (None, "-") else Path(output)


def _kept(release: str, bench_options: Sequence[str]) -> Path | None:
    """Return the file that is to take a result that would fill the terminal; None if none would."""
    if not sys.stdout.isatty() or {"--preflight", "--ktap"} & set(bench_options):
        return None
    path = Path(f"page-alloc-bench-{release}-{time.strftime('%Y%m%dT%H%M%S')}.json")
    note(f"the result will be in {path}; -o FILE or -o none says otherwise")
    return path
