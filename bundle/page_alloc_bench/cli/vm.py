# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench vm``: run a bundle in a throwaway guest."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from page_alloc_bench import outputs
from page_alloc_bench.cli.accel import ACCEL
from page_alloc_bench.cli.common import CONTEXT, DIRECTORY, OUTPUT, BenchCommand, complain
from page_alloc_bench.cli.kernels import KERNEL
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets import (
    accel,
    before_boot,
    boot_failure,
    bootable,
    by_reach,
    fitted,
    kernels,
)
from page_alloc_bench.targets import machine as machines
from page_alloc_bench.targets import root as roots
from page_alloc_bench.targets import vm as target
from page_alloc_bench.targets.bootable import Bootable
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.guest import BOOT_S
from page_alloc_bench.targets.process import TargetError, UsageError


@click.command(cls=BenchCommand, context_settings=CONTEXT)
@click.option(
    "--kernel",
    type=KERNEL,
    metavar="NAME",
    default=kernels.DEFAULT,
    show_default=True,
    help=f"What to boot: {', '.join(row.name for row in kernels.KERNELS if row.boots_roots)}.",
)
@click.option(
    "--kdir",
    type=DIRECTORY,
    metavar="TREE",
    help="Boot the kernel that is built there, in a source tree or an O= directory. Where this "
    "directory is one and nothing is named, it is booted.",
)
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Boot this bzImage, or Image of arm64.",
)
@click.option(
    "--modules",
    "modules_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="With --image: its lib/modules/RELEASE.",
)
@click.option(
    "--reach",
    type=click.Choice([fitted.AUTO, *fitted.REACHES]),
    default=fitted.AUTO,
    show_default=True,
    help="How the guest is reached; auto takes the first that the kernel can.",
)
@click.option("--cmdline", default="", metavar="WORDS", help="More arguments of the kernel.")
@click.option(
    "--boot-timeout",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help=f"Give up a boot after that.  [default: {BOOT_S:g} by ssh, else {by_reach.BOOT_S:g}]",
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
@ACCEL
@click.option(
    "-o",
    "--output",
    type=OUTPUT,
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
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[BUNDLE] [BENCH_OPTIONS]...")
def vm(words: tuple[str, ...], *, output: Path | None, **options: Any) -> None:
    """Run BUNDLE in a throwaway virtual machine, as on a real host.

    BENCH_OPTIONS follow a `--`. Without BUNDLE it is built first. Emulated CPUs are fine
    for trying, not for figures.

    On a terminal the result is kept as page-alloc-bench-RELEASE-TIME.json in this directory, and
    elsewhere it goes to stdout, unless -o says where; `-o none` keeps none.
    """
    bundle, bench_options = _split(words)
    if bundle is not None:
        outputs.protect(bundle)
    source = click.get_current_context().get_parameter_source
    given = {name for name in options if source(name) is not ParameterSource.DEFAULT}

    try:
        status = target.interruptible(lambda: _run(bundle, bench_options, output, options, given))
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    except PackagerError as error:
        complain(error.message, error.advice)
        status = error.exit_code
    except TargetError as error:
        if boot_failure.TooSlowError in (type(error), type(error.__cause__)):
            complain(str(error), "give it longer, with --boot-timeout SECONDS")
            sys.exit(1)
        raise click.ClickException(str(error)) from error
    sys.exit(status)


def _run(
    bundle: Path | None,
    bench_options: Sequence[str],
    output: Path | None,
    options: Mapping[str, Any],
    given: Set[str],
) -> int:
    """Look at all that was GIVEN, run BUNDLE, which is built if it is None; return its status."""
    _refuse(options, given)
    kernel = _own(options, given)
    if bundle is not None and kernel is None and not _boots_alone(options, given):
        return _of_list(bundle, bench_options, output, options)
    from page_alloc_bench.cli import vm_own

    chosen = vm_own.Options.of(options, given)
    vm_own.check(
        kernel.arch if kernel else kernels.lookup(options["kernel"]).arch,
        bundle,
        bench_options,
        output=output and (_path(output) or Path("-")),
        options=chosen,
    )
    kernel = kernel or bootable.of_list(options["kernel"], to_build=bundle is None)
    return vm_own.run(
        kernel,
        bundle,
        bench_options,
        output=_kept(kernel.release, bench_options) if output is None else _path(output),
        options=chosen,
    )


def _split(words: Sequence[str]) -> tuple[Path | None, tuple[str, ...]]:
    """Return the bundle, if there is one, and the options of the benchmark."""
    if not words or words[0].startswith("-"):
        return None, tuple(words)
    kind = click.Path(exists=True, dir_okay=False, path_type=Path)
    parameter = click.Argument(["bundle"], type=kind)
    return kind.convert(words[0], parameter, click.get_current_context()), tuple(words[1:])


def _refuse(options: Mapping[str, Any], given: Set[str]) -> None:
    """Raise UsageError for options that exclude each other."""
    named = [name for name in ("kernel", "kdir", "image") if name in given]
    if len(named) > 1:
        raise UsageError(f"--{named[0]} and --{named[1]} exclude each other")
    if "modules_dir" in given and "image" not in given:
        raise UsageError("--modules is about --image, which is not given")
    if options["counted"] and not given.isdisjoint({"cpus", "nodes"}):
        raise UsageError("--exact counts on one CPU and node: leave out --cpus and --nodes")
    for name in ("boot_timeout", "root") if options["counted"] else ():
        if name in given:
            raise UsageError(f"--exact has no --{name.replace('_', '-')}: leave it out")
    if options["counted"] and options["accel"] == "kvm":
        raise UsageError("--exact counts by emulation: leave out --accel kvm")
    if options["counted"] and options["reach"] not in (fitted.AUTO, fitted.SERIAL):
        raise UsageError("--exact has neither disk nor network: leave out --reach")


def _own(options: Mapping[str, Any], given: Set[str]) -> Bootable | None:
    """Return the kernel of the user's own to boot; None is one of the list."""
    here = Path()
    in_tree = "kernel" not in given and bootable.is_tree(here)
    if options["kdir"]:
        return bootable.of_tree(options["kdir"])
    if options["image"]:
        return bootable.of_image(options["image"], options["modules_dir"])
    return bootable.of_tree(here) if in_tree else None


def _boots_alone(options: Mapping[str, Any], given: Set[str]) -> bool:
    """Return whether a kernel of the list boots as one of the user's own does, by any reach."""
    return bool(options["counted"]) or "reach" in given


def _of_list(
    bundle: Path, bench_options: Sequence[str], output: Path | None, options: Mapping[str, Any]
) -> int:
    """Run BUNDLE on a kernel of the list, over ssh; what cannot work is told before downloads."""
    size = {name: options[name] for name in ("cpus", "nodes", "memory")}
    machine = machines.machine(**size)
    archive = before_boot.open_bundle(bundle)
    before_boot.check_options(archive, bench_options, machine)
    before_boot.check_kernel(options["kernel"])
    for path in (_path(output), options["console"]):
        if path is not None:
            outputs.check(path)
    before_boot.check_memory(machine)
    machines.emulator(machine.arch)  # before a minute of downloads
    fetched = kernels.fetch(options["kernel"])
    before_boot.check_module(archive, fetched)
    return target.run_bundle(
        bundle,
        bench_options,
        kernel=fetched,
        root=options["root"],
        output=_path(output) if output else _kept(fetched.release, bench_options),
        console=options["console"],
        cmdline_extra=options["cmdline"],
        boot_timeout=options["boot_timeout"] or BOOT_S,
        accel=accel.chosen(options["accel"], machine.arch),
        **size,
    )


def _path(output: Path | None) -> Path | None:
    """Return what -o means; None is stdout."""
    if str(output) == "none":
        return Path(os.devnull)
    return None if output == Path("-") else output


def _kept(release: str, bench_options: Sequence[str]) -> Path | None:
    """Return the file that is to take a result that would fill the terminal; None if none would."""
    if not sys.stdout.isatty() or {"--preflight", "--ktap"} & set(bench_options):
        return None
    path = Path(f"page-alloc-bench-{release}-{time.strftime('%Y%m%dT%H%M%S')}.json")
    note(f"the result will be in {path}; -o FILE or -o none says otherwise")
    return path
