# SPDX-License-Identifier: GPL-2.0-only
"""The part of ``page-alloc-bench ab`` that measures time: its options, its sides, its verdict."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from page_alloc_bench import installation
from page_alloc_bench.campaign.journal import Journal
from page_alloc_bench.campaign.verdict_codes import NEW_FAILS
from page_alloc_bench.cli.accel import ACCEL
from page_alloc_bench.cli.common import complain
from page_alloc_bench.cli.verdict_command import cut_off
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets import accel, bench_options, bootable, timed
from page_alloc_bench.targets.bootable import Bootable
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.machine import Machine, machine
from page_alloc_bench.targets.outcome import Outcome
from page_alloc_bench.targets.process import UsageError

if TYPE_CHECKING:
    from page_alloc_bench.campaign.timed.loop import Boots

Command = TypeVar("Command", bound=Callable[..., Any])
MEMORY = "2G"
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    """Return 7200.0 for "2h"."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|min|h|d|)", value.strip())
    if match is None or not float(match[1]):
        raise click.BadParameter(f"{value!r} is not a time above 0, such as 90s, 30m or 2h")
    return float(match[1]) * _UNITS[match[2]]


_EACH = (
    click.option("--cpus", type=click.IntRange(min=1), metavar="N",
                 help="CPUs of each guest.  [default: 4]"),
    click.option("--nodes", type=click.IntRange(min=1), metavar="N",
                 help="NUMA nodes of each guest.  [default: 2]"),
    ACCEL,
    click.option("--max-boots", "most", type=click.IntRange(min=4, max=100), metavar="N",
                 default=20, show_default=True, help="Boots a side, at most."),
    click.option("--budget", callback=seconds, metavar="TIME",
                 help="Stop after this time, such as 30m or 2h; with --dir the same command goes "
                 "on."),
    click.option("--timeout", callback=seconds, metavar="TIME", default="1h", show_default=True,
                 help="Of one boot and its run."),
    click.option("--allow-difference", "allow", multiple=True, metavar="NAME",
                 help="Compare although this fact differs. Repeatable."),
    click.option("--confidence", metavar="PERCENT", default="95%", show_default=True,
                 help="Of all intervals that decide, together, at all looks."),
)  # fmt: skip
_OF_AB = (
    click.option("--metric", "metrics", multiple=True, metavar="NAME[:STATISTIC]",
                 help="Decide by this only. Repeatable."),
    click.option("--keep-going", is_flag=True,
                 help="Go on where the new kernel fails and the base does not."),
    click.option("--aa", is_flag=True,
                 help="Compare the base with itself, to see what this host does to verdicts."),
    click.option("--seed", type=click.IntRange(min=0), metavar="N",
                 help="Of the order of the boots.  [default: by chance]"),
)  # fmt: skip


# Their parameters, and what they are called.
_NAMES = {
    "cpus": "--cpus", "nodes": "--nodes", "accel": "--accel", "most": "--max-boots",
    "budget": "--budget", "timeout": "--timeout", "allow": "--allow-difference",
    "confidence": "--confidence",
}  # fmt: skip
_NAMES_OF_AB = {
    "metrics": "--metric", "keep_going": "--keep-going", "aa": "--aa", "seed": "--seed",
}  # fmt: skip


def boot_options(command: Command) -> Command:
    """Give a command the options of each comparison by time."""
    for option in reversed(_EACH):
        command = option(command)
    return command


def timed_options(command: Command) -> Command:
    """Give a command the options of a single comparison by time."""
    for option in reversed(_OF_AB):
        command = option(command)
    return boot_options(command)


def refuse_with_exact(*, single: bool = False) -> None:
    """Raise UsageError for an option of the command that counted instructions do not have.

    single: whether it has those of a single comparison too.
    """
    source = click.get_current_context().get_parameter_source
    for name, option in {**_NAMES, **(_NAMES_OF_AB if single else {})}.items():
        if source(name) is not ParameterSource.DEFAULT:
            raise UsageError(f"--exact has no {option}: leave it out")


@dataclass(frozen=True)
class Kernel:
    """A kernel to compare.

    arch: Debian's name of it. identity: what the plan says of it, so that another one is noticed.
    bundle: returns the path of its bundle, and builds it if need be; raises PackagerError.
    """

    label: str
    arch: str
    release: str
    image: Path
    identity: Mapping[str, Any]
    bundle: Callable[[], Path]


@dataclass(frozen=True)
class Side:
    """A kernel and how it is booted: what campaign.timed.loop.Boots asks for."""

    name: str
    label: str
    kernel: Kernel
    cmdline: str
    machine: Machine
    plan: Mapping[str, Any]

    def measure(self) -> Outcome:
        """Boot it once."""
        return timed.measure(
            self.kernel.bundle(),
            self.kernel.image,
            self.kernel.release,
            self.plan["bench_options"],
            self.machine,
            cmdline_extra=self.cmdline,
            timeout=self.plan["timeout"],
        )


def run(
    directory: Path, options: Mapping[str, Any], find: Callable[[], Mapping[str, Kernel]]
) -> int:
    """Compare two kernels by time; print the verdict and return the exit code.

    options: those of the command. find: returns the kernels of "base" and "new". Raises UsageError,
    CampaignError and TargetError.
    """
    require_analysis()
    from page_alloc_bench.campaign.timed import plan

    kernels = find()
    if kernels["base"].arch != kernels["new"].arch:
        raise UsageError("the kernels are for different architectures")
    chosen = chosen_machine(options, kernels["base"].arch)
    asked = {**asked_of(options, about_guest(chosen)), **_asked(options, kernels)}
    journal = Journal(directory)
    if plan.begin(journal, asked, most=options["most"], seed=options["seed"]):
        note(f"going on with {directory}")
    failed = _build(kernels)
    if failed is not None:
        return failed
    sides = {
        name: Side(name, asked["labels"][name], kernel, asked["cmdlines"][name], chosen, asked)
        for name, kernel in kernels.items()
    }
    return conclude(journal, sides, options)


def check(options: Mapping[str, Any]) -> None:
    """Raise UsageError for what can be told before kernels are fetched, built or booted in guests.

    Ends the process for --help of the benchmark.
    """
    guest = machine(options["cpus"], options["nodes"], options["memory"] or MEMORY)
    bench_options.check_timed(options["bench_options"], guest)
    require_analysis()
    asked_of(options, about_guest(guest))


def conclude(journal: Journal, sides: Mapping[str, Boots], options: Mapping[str, Any]) -> int:
    """Boot the sides of a plan until it is known; print the verdict and return the exit code.

    Raises UsageError, CampaignError and TargetError.
    """
    from page_alloc_bench.campaign.timed import loop, verdict

    campaign = loop.Campaign(
        journal,
        sides,
        note=note,
        budget_s=options["budget"],
        keep_going=options["keep_going"],
    )
    with refusals():
        ending = campaign.run()
        text, code = verdict.tell(journal.directory, ending, ["page-alloc-bench", *sys.argv[1:]])
    click.echo(text, nl=False)
    if ending.why == "budget":
        note(cut_off(ending.text, options["directory"]))
    return code


def require_analysis() -> None:
    """Raise UsageError where what judges is not installed."""
    try:
        from page_alloc_bench.campaign.timed import loop  # noqa: F401
    except ImportError as error:
        needed = installation.install_extra("analysis")
        raise UsageError(f"{error.name} is not installed; this needs: {needed}") from error


def chosen_machine(options: Mapping[str, Any], arch: str) -> Machine:
    """Return the guest that the options ask for. Raises UsageError."""
    return machine(
        options["cpus"],
        options["nodes"],
        options["memory"] or MEMORY,
        arch=arch,
        accel=accel.chosen(options["accel"], arch),
    )


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Raise UsageError for boots that cannot be compared."""
    from page_alloc_bench.analysis import compare, results

    try:
        yield
    except compare.RefusedError as error:
        lines = "".join(f"\n  {each.name}" for each in error.differences)
        names = " ".join(f"--allow-difference {each.name}" for each in error.differences)
        raise UsageError(
            f"the boots differ in more than what is compared:{lines}\nmake them alike, or, if you "
            f"know why they may differ: {names}"
        ) from error
    except (compare.CompareError, results.ResultError) as error:
        raise UsageError(str(error)) from error


def names(options: Mapping[str, Any]) -> dict[str, str]:
    """Return what --base and --new name, by the side. Raises UsageError."""
    if not options["base"]:
        raise UsageError("give --base, the kernel to compare with")
    if len(options["news"]) > 1:
        raise UsageError("by time, one new kernel can be compared: give --new once, or --exact")
    if options["aa"] and (options["news"] or options["cmdline_new"]):
        raise UsageError("--aa compares the base with itself: leave out --new and --cmdline-new")
    if not options["aa"] and not options["news"]:
        raise UsageError("give --new, the kernel to compare with the base")
    new = options["base"] if options["aa"] else options["news"][0]
    return {"base": options["base"], "new": new}


def named(
    directory: Path,
    options: Mapping[str, Any],
    identity: Callable[[Bootable], Mapping[str, Any]],
    bundles: Callable[[Path, Sequence[Bootable]], Mapping[str, Path]],
) -> dict[str, Kernel]:
    """Return the kernels that --base and --new name.

    identity: what a plan says of a kernel. bundles: builds for kernels in a directory, in their
    order, and returns the bundles by the kernels' labels. Raises UsageError and TargetError.
    """
    called = names(options)
    base = bootable.find(called["base"])
    found = [base, base if options["aa"] else bootable.find(called["new"])]

    def kernel(number: int) -> Kernel:
        each = found[number]

        def bundle() -> Path:
            return bundles(directory, found[: number + 1])[each.label]

        return Kernel(each.label, each.arch, each.release, each.image, identity(each), bundle)

    return {"base": kernel(0), "new": kernel(1)}


def about_guest(chosen: Machine) -> dict[str, Any]:
    """Return what a plan says of a guest."""
    return {
        "cpus": chosen.cpus,
        "nodes": chosen.nodes,
        "memory_mib": chosen.memory_mib,
        "accel": chosen.accel,
    }


def asked_of(options: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the plan has of the options and the machine, whatever the kernels are.

    Raises UsageError.
    """
    from page_alloc_bench.analysis import thresholds
    from page_alloc_bench.cli.verdict_options import confidence

    try:
        matters = thresholds.parse(options["threshold"]) if options["threshold"] else None
    except thresholds.ThresholdError as error:
        raise UsageError(f"--threshold: {error}") from error
    return {
        "machine": dict(machine),
        "thresholds": str(matters or thresholds.Thresholds()),
        "confidence": confidence(options["confidence"]),
        "metrics": list(options["metrics"]),
        "allow": list(options["allow"]),
        "timeout": options["timeout"],
        "bench_options": list(options["bench_options"]),
    }


def _asked(options: Mapping[str, Any], kernels: Mapping[str, Kernel]) -> dict[str, Any]:
    """Return what the plan has of the kernels."""
    cmdlines = {
        side: options["cmdline_base" if options["aa"] else f"cmdline_{side}"] for side in kernels
    }
    labels = {
        side: kernel.label + (f", {cmdlines[side]}" if cmdlines[side] else "")
        for side, kernel in kernels.items()
    }
    return {
        "labels": labels,
        "cmdlines": cmdlines,
        "kernels": {side: dict(kernel.identity) for side, kernel in kernels.items()},
    }


def _build(kernels: Mapping[str, Kernel]) -> int | None:
    """Build what is missing; return the exit code where the new kernel's cannot be, else None.

    It is not a boot, so that the journal has nothing of it: what is mended goes on.
    """
    kernels["base"].bundle()
    try:
        kernels["new"].bundle()
    except PackagerError as error:
        complain(f"new: {error.message}", error.advice)
        return NEW_FAILS
    return None
