# SPDX-License-Identifier: GPL-2.0-only
"""What `ab` and `bisect` share: options, and a kernel that they boot with --exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from page_alloc_bench.campaign import exact as campaign
from page_alloc_bench.cli.ab_timed import MEMORY
from page_alloc_bench.cli.common import JOBS, PathType
from page_alloc_bench.targets import bench_options, exact
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.machine import machine
from page_alloc_bench.targets.process import TargetError

_Command = TypeVar("_Command", bound=Callable[..., Any])


_OPTIONS = (
    click.option(
        "--threshold",
        metavar="PERCENT|KIND=PERCENT,...",
        help="The change that is a regression: with --exact of a path  "
        f"[default: {exact.THRESHOLD}], else as of compare.",
    ),
    click.option(
        "--dir",
        "directory",
        type=PathType(file_okay=False),
        metavar="DIR",
        help="Keep plan, results and verdict there; the same command goes on where it stopped.",
    ),
    click.option(
        "--mem",
        "memory",
        metavar="SIZE",
        help=f"Of each guest.  [default: {MEMORY}; with --exact {exact.MEMORY}]",
    ),
    click.option(
        "--where/--no-where",
        "by_function",
        default=True,
        show_default=True,
        help="Count by function of the kernel too.",
    ),
    click.option(
        "-j",
        "--jobs",
        type=JOBS,
        help="Guests at once, with --exact, and compilers.  [default: one per CPU]",
    ),
)


def options(command: _Command) -> _Command:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def words(metavar: str) -> Callable[[_Command], _Command]:
    """Return what adds the argument with the revisions and, after a `--`, the benchmark's own."""
    return click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar=metavar)


def split(words: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return what stands before the first option of the benchmark, and that with what follows."""
    begin = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
    return list(words[:begin]), list(words[begin:])


def check(options: Mapping[str, Any]) -> None:
    """Raise UsageError for what can be told before kernels are fetched, built or booted.

    Ends the process for --help of the benchmark.
    """
    guest = machine(1, 1, options["memory"] or exact.MEMORY, icount=True)
    bench_options.check_counted(options["bench_options"], guest)


@dataclass(frozen=True)
class Side:
    """A kernel, its bundle and how it is booted: what campaign.exact.Boots asks for.

    plan: has bench_options, memory and by_function.
    """

    name: str
    called: str
    image: Path
    arch: str
    bundle: Path
    plan: Mapping[str, Any]
    cmdline: str = ""

    @property
    def label(self) -> str:
        """Return what people call it."""
        return f"{self.called}, {self.cmdline}" if self.cmdline else self.called

    def measure(self, seed: int) -> tuple[dict[str, Any], str]:
        """Boot it once, with random numbers of this seed."""
        console: list[str] = []
        try:
            document = exact.measure(
                self.bundle,
                self.image,
                self.arch,
                self.plan["bench_options"],
                cmdline_extra=self.cmdline,
                memory=self.plan["memory"],
                seed=seed,
                by_function=self.plan["by_function"],
                on_line=lambda line: note(f"{self.name}: {line}"),
                console=console.append,
            )
        except TargetError as error:
            raise campaign.BootFailedError(str(error), "".join(console)) from error
        return document, "".join(console)
