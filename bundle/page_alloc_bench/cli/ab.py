# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench ab``: two kernels, or more, against each other."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from page_alloc_bench.campaign import exact as campaign
from page_alloc_bench.campaign.journal import Journal
from page_alloc_bench.cli import (
    ab_host,
    ab_kernels,
    ab_revisions,
    ab_timed,
    ab_verdict,
    exact_sides,
    revision_options,
)
from page_alloc_bench.cli.common import CONTEXT, complain
from page_alloc_bench.cli.sides import percent
from page_alloc_bench.cli.verdict_command import VerdictCommand, in_directory
from page_alloc_bench.targets import exact
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.process import UsageError


@click.command(cls=VerdictCommand, context_settings=CONTEXT)
@click.option("--exact", "by_instructions", is_flag=True, help="Compare by counted instructions.")
@click.option(
    "--base",
    metavar="KERNEL",
    help="A kernel of `kernels --list`, a built tree, or an image in one; with --host also a "
    "release that is installed there.",
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
@ab_host.options
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
    options["directory"] = directory
    work = _exact if by_instructions else ab_host.run if options["host"] else _timed

    def compare(place: Path) -> int:
        ab_host.check(options)
        return work(place, revisions, options)

    sys.exit(in_directory(directory, compare))


def _timed(place: Path, revisions: list[str], options: dict[str, Any]) -> int:
    """Compare by time. Raises UsageError."""
    if options["each"]:
        raise UsageError("--each compares with --exact: give that too")
    if options["aa"]:
        revisions = _twice(revisions, options)
    if not revisions:
        if not options["base"]:
            raise UsageError("give two revisions of --tree, or --base and --new")
        if options["tree"]:
            raise UsageError("--tree is of revisions: give two of them instead of --base and --new")
        ab_timed.check(options)
        identity, bundles = ab_kernels.identity, ab_kernels.bundles
        return ab_timed.run(
            place, options, lambda: ab_timed.named(place, options, identity, bundles)
        )
    _require_one_way(revisions, options)
    ab_timed.check(options)
    built, failed = ab_revisions.built(revisions, options)
    if failed is not None:
        return ab_verdict.tell(place, failed, (), failed.failed, 0)
    return ab_timed.run(place, options, lambda: built)


def _exact(place: Path, revisions: list[str], options: dict[str, Any]) -> int:
    """Compare by counted instructions. Raises UsageError for what is of the other comparison."""
    _require_one_way(revisions, options)
    ab_timed.refuse_with_exact(single=True)
    exact_sides.check(options)
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


def _twice(revisions: list[str], options: dict[str, Any]) -> list[str]:
    """Return the one revision that --aa compares with itself as both; none where --base is it.

    Raises UsageError.
    """
    if options["news"] or options["cmdline_new"]:
        raise UsageError("--aa compares the base with itself: leave out --new and --cmdline-new")
    if len(revisions) > 1:
        raise UsageError("--aa compares one revision with itself: give one")
    if bool(revisions) == bool(options["base"]):
        both = ", not both" if revisions else ""
        raise UsageError(f"give one revision of --tree with --aa, or --base{both}")
    return revisions * 2


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
