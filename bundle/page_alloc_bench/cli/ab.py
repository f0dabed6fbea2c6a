# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench ab``: two kernels, or more, against each other."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from page_alloc_bench.campaign import exact as campaign
from page_alloc_bench.campaign.journal import CampaignError, Journal
from page_alloc_bench.cli import (
    ab_kernels,
    ab_revisions,
    ab_timed,
    ab_verdict,
    exact_sides,
    revision_options,
)
from page_alloc_bench.cli.common import CONTEXT, BenchCommand, Codes, complain
from page_alloc_bench.cli.ends import Interrupted
from page_alloc_bench.cli.sides import percent
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets import exact
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.process import TargetError, UsageError


class _Command(BenchCommand):
    """1 and 2 are verdicts, 4 is about the new kernel: all else that goes wrong is 3 or 5."""

    codes = Codes(failed=ab_verdict.TROUBLE, usage=ab_verdict.REFUSED)


@click.command(cls=_Command, context_settings=CONTEXT)
@click.option("--exact", "by_instructions", is_flag=True, help="Compare by counted instructions.")
@click.option(
    "--base",
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
@exact_sides.options
@click.option("--each", is_flag=True, help="Each commit of BASE..BRANCH against its parent.")
@revision_options.options
@ab_timed.timed_options
@exact_sides.words("[BASE NEW | BASE..BRANCH] [-- OPTION...]")
def ab(
    *, by_instructions: bool, directory: Path | None, words: tuple[str, ...], **options: Any
) -> None:
    """Say whether the page allocator became worse from one kernel to another.

    Both kernels are booted in guests by turns, in random order, until it can be told, or until more
    boots would not tell. A boot is one observation.

    With --exact, instructions are counted instead: each kernel is booted twice in a guest that
    counts them, and again if its boots differ. Nothing needs to be quiet.

    BASE and NEW are revisions of the git repository --tree, which are built here; or give --base
    and --new.

    Options of the benchmark follow a `--`, such as --alloc-orders 0,9.
    """
    revisions, options["bench_options"] = exact_sides.split(words)
    work = _exact if by_instructions else _timed
    sys.exit(in_directory(directory, lambda place: work(place, revisions, options)))


def in_directory(directory: Path | None, work: Callable[[Path], int]) -> int:
    """Do WORK in the DIRECTORY, or in one that goes; return its exit code, or that of an error.

    Raises click.UsageError.
    """
    kept = None if directory else tempfile.TemporaryDirectory("", "pab-ab.")
    try:
        return work(directory or Path(kept.name if kept else ""))
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    except PackagerError as error:
        complain(error.message, error.advice)
        return ab_verdict.REFUSED
    except (CampaignError, TargetError) as error:
        complain(str(error))
        return ab_verdict.TROUBLE
    except Interrupted as interrupted:
        note("interrupted; with --dir the same command goes on from here")
        if kept:
            kept.cleanup()
        # Not by the end of main: that waits for threads, and they for their guests, which end with
        # this process.
        os._exit(128 + interrupted.signum)
    finally:
        if kept:
            kept.cleanup()


def _timed(place: Path, revisions: list[str], options: dict[str, Any]) -> int:
    """Compare by time. Raises UsageError."""
    if options["each"]:
        raise UsageError("--each compares with --exact: give that too")
    if not revisions:
        if not options["base"]:
            raise UsageError("give two revisions of --tree, or --base and --new")
        if options["tree"]:
            raise UsageError("--tree is of revisions: give two of them instead of --base and --new")
        identity, bundles = ab_kernels.identity, ab_kernels.bundles
        return ab_timed.run(
            place, options, lambda: ab_timed.named(place, options, identity, bundles)
        )
    _require_one_way(revisions, options)
    built, failed = ab_revisions.built(revisions, options)
    if failed is not None:
        return ab_verdict.tell(place, failed, (), failed.failed, 0)
    return ab_timed.run(place, options, lambda: built)


def _exact(place: Path, revisions: list[str], options: dict[str, Any]) -> int:
    """Compare by counted instructions. Raises UsageError for what is of the other comparison."""
    _require_one_way(revisions, options)
    ab_timed.refuse_with_exact(single=True)
    threshold = percent(options["threshold"] or exact.THRESHOLD) / 100
    given = {**options, "memory": options["memory"] or exact.MEMORY}
    journal = Journal(place)
    made = (
        ab_revisions.comparison(journal, revisions, given)
        if revisions
        else ab_kernels.comparison(journal, given)
    )
    at_once = options["jobs"] or os.cpu_count() or 1
    measured, failures = campaign.run(journal, made.sides, at_once=at_once, note=note)
    for failure in failures:
        complain(f"{failure.side}: {failure.reason}")
    reasons = {failure.side: failure.reason for failure in failures}
    whole = [side for side in measured if side.name not in reasons]
    return ab_verdict.tell(place, made, whole, {**made.failed, **reasons}, threshold)


def _require_one_way(revisions: list[str], options: dict[str, Any]) -> None:
    """Raise UsageError unless the kernels are named in one of the ways that there are."""
    kernels = bool(options["base"] or options["news"])
    if kernels and (revisions or options["each"]):
        raise UsageError("give two revisions, or --base and --new, not both")
    if kernels and not options["news"]:
        raise UsageError("give --new, the kernel to compare with the base")
    if kernels and not options["base"]:
        raise UsageError("give --base, the kernel to compare with")
    if kernels and options["tree"]:
        raise UsageError("--tree is of revisions: give two of them instead of --base and --new")
    wanted = 1 if options["each"] else 2
    if not kernels and len(revisions) != wanted:
        raise UsageError(
            "give one BASE..BRANCH with --each"
            if options["each"]
            else "give two revisions of --tree, or --base and --new"
        )
