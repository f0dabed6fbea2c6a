# SPDX-License-Identifier: GPL-2.0-only
"""The part of ``page-alloc-bench bisect`` that measures time."""

from __future__ import annotations

import math
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from page_alloc_bench.campaign.bisection import BAD, SKIP, Steps
from page_alloc_bench.campaign.build_cache import Built
from page_alloc_bench.campaign.revisions import Commit
from page_alloc_bench.campaign.verdict_codes import NEW_FAILS, NONE, REFUSED, UNKNOWN
from page_alloc_bench.cli import ab_revisions, ab_timed, bisect_common
from page_alloc_bench.cli.ab_timed import Side
from page_alloc_bench.cli.bisect_common import NOTHING, Bisection
from page_alloc_bench.cli.common import complain
from page_alloc_bench.cli.verdict_command import cut_off
from page_alloc_bench.targets.cache import note

if TYPE_CHECKING:
    from page_alloc_bench.campaign.timed.step import TimedStep, Told

_STEPS, _WIDTH = "steps", 72


def run(directory: Path, revisions: Sequence[str], options: dict[str, Any]) -> int:
    """Find the commit by time; print it and return the exit code.

    Raises UsageError, CampaignError and TargetError.
    """
    ab_timed.require_analysis()
    from page_alloc_bench.campaign.timed import step as steps

    began = time.monotonic()
    between = bisect_common.between(directory, revisions, options)
    commits = between.repository.suspects([between.good.sha], between.bad.sha)
    chosen = ab_timed.chosen_machine(options, between.kernels.builder.arch)
    asked = ab_timed.asked_of(options, ab_timed.about_guest(chosen))
    between.begin("timed bisect", {**asked, "cmdline": options["cmdline"], "most": options["most"]})
    ends = between.ends()
    if isinstance(ends, int):
        return ends

    def side(name: str, kernel: Built) -> Side:
        cmdline = options["cmdline"]
        label = f"{kernel.label}, {cmdline}" if cmdline else kernel.label
        return Side(name, label, ab_revisions.timed(kernel), cmdline, chosen, asked)

    def left() -> float | None:
        budget = options["budget"]
        return None if budget is None else budget - (time.monotonic() - began)

    # The first of the steps holds GOOD against BAD.
    first = steps.TimedStep(
        directory / _STEPS, side, asked, steps.number(len(commits)) + 1, options["most"], note, left
    )
    try:
        with ab_timed.refusals():
            told = first.take(*ends)
            made = told.ending.judgement.comparison
            if told.verdict != BAD or made is None:
                return _nothing(first.place(between.bad.sha), told)
            note(made.sentence)
            followed = steps.follow(asked, steps.worst(made))
            found = between.search(ends[0], replace(first, asked=followed))
    except steps.OverError as error:
        note(cut_off(str(error), options["directory"]))
        return UNKNOWN
    return between.tell(found, lambda commit: _about(between, first, followed, told, commit))


def _nothing(directory: Path, told: Told) -> int:
    """Say why there is nothing to find, or why it cannot be told; return the exit code."""
    from page_alloc_bench.campaign.timed import verdict

    text, code = verdict.tell(directory, told.ending, ["page-alloc-bench", *sys.argv[1:]])
    click.echo(text, nl=False)
    if code == NONE:
        click.echo("\nNothing to find: BAD is not worse than GOOD")
        return NOTHING
    if code in (REFUSED, NEW_FAILS):
        complain(told.why)
        return code
    return UNKNOWN


def _floor(part: float) -> str:
    """Return a part in percent, rounded down: more must not be promised."""
    return f"{math.floor(round(part * 1000, 6)) / 10:.1f}%"


def _about(
    between: Bisection, first: TimedStep, followed: Mapping[str, Any], told: Told, commit: Commit
) -> tuple[Sequence[str], Mapping[str, Any]]:
    """Return what was followed, how the commit stands against GOOD, and how sure that is."""
    taken = Steps(between.directory).read()
    change = told.why if commit.sha == between.bad.sha else taken[commit.sha].why
    judged = 1 + sum(outcome.verdict != SKIP for outcome in taken.values())
    confidence = 1 - judged * (1 - first.confidence)
    (figure,) = followed["metrics"]
    lines = [
        f"followed: {figure}",
        f"against {between.good.name}: {change}",
        f"confidence of all {judged} comparisons together: at least {_floor(confidence)}",
    ]
    wrapped = [row for line in lines for row in textwrap.wrap(line, _WIDTH, subsequent_indent="  ")]
    document = {"followed": figure, "change": change, "confidence": round(confidence, 6)}
    return ["", *wrapped], document
