# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench ab``: two kernels, or more, against each other."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from page_alloc_bench import installation
from page_alloc_bench.analysis.instructions import path_length, releases, words
from page_alloc_bench.campaign import exact as campaign
from page_alloc_bench.campaign.journal import CampaignError, Journal
from page_alloc_bench.cli import ab_timed
from page_alloc_bench.cli.common import CONTEXT, BenchCommand, Codes, complain
from page_alloc_bench.cli.sides import percent
from page_alloc_bench.packager import build
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets import bootable, exact
from page_alloc_bench.targets.bootable import Bootable
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.process import TargetError, UsageError

NONE, REGRESSION, UNKNOWN, REFUSED, NEW_FAILS, TROUBLE = range(6)
_CODES = {"no regression": NONE, "regression": REGRESSION, "cannot tell": UNKNOWN}


class _Command(BenchCommand):
    """1 and 2 are verdicts, 4 is about the new kernel: all else that goes wrong is 3 or 5."""

    codes = Codes(failed=TROUBLE, usage=REFUSED)


@click.command(cls=_Command, context_settings=CONTEXT)
@click.option("--exact", "by_instructions", is_flag=True, help="Compare by counted instructions.")
@click.option(
    "--base",
    required=True,
    metavar="KERNEL",
    help="A kernel of `kernels --list`, a built tree, or an image in one.",
)
@click.option(
    "--new", "news", multiple=True, metavar="KERNEL", help="The same. Repeatable with --exact."
)
@click.option(
    "--cmdline-base", default="", metavar="WORDS", help="More arguments of the base kernel."
)
@click.option(
    "--cmdline-new", default="", metavar="WORDS", help="More arguments of the new kernels."
)
@click.option(
    "--threshold",
    metavar="PERCENT|KIND=PERCENT,...",
    help="The change that is a regression: with --exact of a path  [default: 0.1%], else as of "
    "compare.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep plan, results and verdict there; the same command goes on where it stopped.",
)
@click.option(
    "--mem",
    "memory",
    metavar="SIZE",
    help=f"Of each guest.  [default: {ab_timed.MEMORY}; with --exact {exact.MEMORY}]",
)
@click.option(
    "--where/--no-where",
    "by_function",
    default=True,
    show_default=True,
    help="Count by function of the kernel too.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    help="Guests at once, with --exact.  [default: one per CPU]",
)
@ab_timed.timed_options
@click.argument("bench_options", nargs=-1, type=click.UNPROCESSED)
def ab(
    *,
    by_instructions: bool,
    base: str,
    news: tuple[str, ...],
    directory: Path | None,
    jobs: int | None,
    **options: Any,
) -> None:
    """Say whether the page allocator became worse from one kernel to another.

    Both kernels are booted in guests by turns, in random order, until it can be told, or until more
    boots would not tell. A boot is one observation.

    With --exact, instructions are counted instead: each kernel is booted twice in a guest that
    counts them, and again if its boots differ. Nothing needs to be quiet.

    BENCH_OPTIONS follow a `--`, such as --alloc-orders 0,9.
    """
    kept = nullcontext(str(directory)) if directory else tempfile.TemporaryDirectory("", "pab-ab.")
    with kept as place:
        try:
            if not by_instructions:
                given = {**options, "base": base, "news": news}
                there = Path(place)
                status = ab_timed.run(
                    there, given, lambda: ab_timed.named(there, given, _identity, _bundles)
                )
            else:
                status = _exact(Path(place), base, news, jobs, options)
        except UsageError as error:
            raise click.UsageError(str(error)) from error
        except PackagerError as error:
            complain(error.message, error.advice)
            status = REFUSED
        except (CampaignError, TargetError) as error:
            complain(str(error))
            status = TROUBLE
        except KeyboardInterrupt:
            note("interrupted; with --dir the same command goes on from here")
            sys.stdout.flush()
            os._exit(130)  # the threads wait for their guests, which end with this process
    sys.exit(status)


def _exact(
    place: Path, base: str, news: tuple[str, ...], jobs: int | None, options: dict[str, Any]
) -> int:
    """Compare by counted instructions. Raises UsageError for what is of the other comparison."""
    if not news:
        raise UsageError("give --new, the kernel to compare with the base")
    source = click.get_current_context().get_parameter_source
    for name in ab_timed.NAMES:
        if source(name) is not ParameterSource.DEFAULT:
            raise UsageError(f"--exact has no {ab_timed.NAMES[name]}: leave it out")
    own = {name: value for name, value in options.items() if name not in ab_timed.NAMES}
    threshold = percent(own.pop("threshold") or "0.1%") / 100
    plan = {"base": base, "new": list(news), **own, "mode": "exact"}
    plan["bench_options"] = list(options["bench_options"])
    plan["memory"] = options["memory"] or exact.MEMORY
    return _run(place, plan, threshold, jobs or os.cpu_count() or 1)


@dataclass(frozen=True)
class _Side:
    """A kernel, its bundle and how it is booted: what campaign.exact.Boots asks for."""

    name: str
    kernel: Bootable
    bundle: Path
    plan: dict[str, Any]
    cmdline: str

    @property
    def label(self) -> str:
        extra = f", {self.cmdline}" if self.cmdline else ""
        return f"{self.kernel.label}{extra}"

    def measure(self) -> tuple[dict[str, Any], str]:
        """Boot it once."""
        console: list[str] = []
        try:
            document = exact.measure(
                self.bundle,
                self.kernel.image,
                self.kernel.arch,
                self.plan["bench_options"],
                cmdline_extra=self.cmdline,
                memory=self.plan["memory"],
                by_function=self.plan["by_function"],
                on_line=lambda line: note(f"{self.name}: {line}"),
                console=console.append,
            )
        except TargetError as error:
            raise campaign.BootFailedError(str(error), "".join(console)) from error
        return document, "".join(console)


def _run(directory: Path, plan: dict[str, Any], threshold: float, jobs: int) -> int:
    """Do what the plan says; print the verdict and return the exit code."""
    base, *news = (bootable.find(text) for text in (plan["base"], *plan["new"]))
    names = ["new"] if len(news) == 1 else [f"new{number}" for number in range(1, len(news) + 1)]
    journal = Journal(directory)
    if journal.begin({**plan, "kernels": [_identity(each) for each in (base, *news)]}):
        note(f"going on with {directory}")
    named = [("base", base, plan["cmdline_base"])]
    named += [(name, kernel, plan["cmdline_new"]) for name, kernel in zip(names, news)]
    bundles = _bundles(directory, [kernel for _, kernel, _ in named])
    sides = [
        _Side(name, kernel, bundles[kernel.label], plan, cmdline) for name, kernel, cmdline in named
    ]
    measured, failures = campaign.run(journal, sides, at_once=jobs, note=note)
    for failure in failures:
        complain(f"{failure.side}: {failure.reason}")
    failed = {failure.side for failure in failures}
    whole = [side for side in measured if side.name not in failed]
    if "base" in failed:
        return TROUBLE
    status = _tell(directory, whole, threshold) if len(whole) > 1 else NEW_FAILS
    return NEW_FAILS if failed else status


def _identity(kernel: Bootable) -> dict[str, Any]:
    status = kernel.image.stat()
    return {"release": kernel.release, "image": [status.st_size, int(status.st_mtime)]}


def _bundles(directory: Path, wanted: Sequence[Bootable]) -> dict[str, Path]:
    """Build a bundle for each kernel, unless the directory has it; return them by label."""
    made: dict[str, Path] = {}
    for kernel in wanted:
        if kernel.label in made:
            continue
        path = directory / f"bundle-{len(made)}.run"
        if not path.exists():
            note(f"building the module for {kernel.release}")
            request = build.BuildRequest(
                **vars(kernel.source()), output=path, signer=kernel.signer, fetch_python=_python
            )
            build.build(request)
        made[kernel.label] = path
    return made


def _python(machine: str) -> Path:
    from page_alloc_bench.targets import foreign_python

    return foreign_python.fetch(machine)


def _tell_all(directory: Path, measured: Sequence[path_length.Side]) -> str:
    """Keep the table and the picture of all kernels; return the table as text."""
    found = releases.gather(measured)
    (directory / "costs.md").write_text(releases.markdown(found))
    try:
        from page_alloc_bench.analysis.instructions import drawn
    except ImportError as error:
        needed = installation.install_extra("analysis")
        note(f"no picture: {error.name} is not installed; this needs: {needed}")
    else:
        drawn.save(found, directory / "costs.svg")
    return releases.text(found)


def _tell(directory: Path, measured: Sequence[path_length.Side], threshold: float) -> int:
    """Print the verdict on each new kernel, keep it, and return the worst as exit code."""
    base, *news = measured
    codes, texts, documents = [], [], []
    for new in news:
        differences = list(path_length.compare(base, new))
        codes.append(_CODES[path_length.verdict(differences, threshold)])
        texts.append(words.text(base, new, differences, threshold))
        documents.append(words.as_json(base, new, differences, threshold))
    if len(news) > 1:
        texts.append(_tell_all(directory, measured))
    text = "\n".join(texts)
    (directory / "verdict.txt").write_text(text)
    (directory / "verdict.json").write_text(json.dumps(documents, indent=1) + "\n")
    click.echo(text, nl=False)
    return next(code for code in (REGRESSION, UNKNOWN, NONE) if code in codes)
