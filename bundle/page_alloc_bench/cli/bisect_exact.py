# SPDX-License-Identifier: GPL-2.0-only
"""The part of ``page-alloc-bench bisect`` that counts instructions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from page_alloc_bench.analysis.instructions import path_length, words
from page_alloc_bench.analysis.instructions.path_length import Case
from page_alloc_bench.campaign import exact_step
from page_alloc_bench.campaign.build_cache import Built
from page_alloc_bench.campaign.exact_step import ExactStep, FailedError, Meter
from page_alloc_bench.campaign.journal import CampaignError
from page_alloc_bench.campaign.revisions import Commit
from page_alloc_bench.campaign.verdict_codes import NEW_FAILS, TROUBLE, UNKNOWN
from page_alloc_bench.cli import bisect_common
from page_alloc_bench.cli.bisect_common import NOTHING, Bisection
from page_alloc_bench.cli.common import complain
from page_alloc_bench.cli.exact_sides import Side
from page_alloc_bench.cli.sides import percent
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets import exact
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.process import TargetError, UsageError

_PLANNED = ("cmdline", "by_function", "bench_options")


def run(directory: Path, revisions: Sequence[str], options: dict[str, Any]) -> int:
    """Find the commit by counted instructions; print it and return the exit code.

    Raises UsageError, CampaignError and TargetError.
    """
    if len(options["metrics"]) > 1:
        raise UsageError("--exact follows one figure: give --metric once")
    metric = options["metrics"][0] if options["metrics"] else None
    case = exact_step.case(metric) if metric else None
    threshold = percent(options["threshold"] or exact.THRESHOLD) / 100
    plan = {name: options[name] for name in _PLANNED}
    plan |= {"memory": options["memory"] or exact.MEMORY, "metric": metric, "threshold": threshold}
    between = bisect_common.between(directory, revisions, options)
    journal = between.begin("exact bisect", plan)
    ends = between.ends()
    if isinstance(ends, int):
        return ends

    def side(name: str, kernel: Built) -> Side:
        called, image, bundle = kernel.label, kernel.image, kernel.bundle
        return Side(name, called, image, kernel.arch, bundle, plan, plan["cmdline"])

    meter = Meter(journal, side, options["jobs"] or os.cpu_count() or 1, note)
    try:
        measured = meter.measure(*ends)
    except FailedError as error:
        complain(str(error))
        bad_fails = error.name == between.bad.short
        return NEW_FAILS if bad_fails else TROUBLE
    step = _step(meter, measured, case, threshold)
    if isinstance(step, int):
        return step
    found = between.search(ends[0], step)
    return between.tell(found, lambda commit: _about(between, meter, commit, threshold))


def _step(
    meter: Meter, measured: list[path_length.Side], case: Case | None, threshold: float
) -> ExactStep | int:
    """Return how commits are judged, or the exit code where there is nothing to find."""
    good, bad = measured
    differences = list(path_length.compare(good, bad))
    if case is not None:
        exact_step.require_measured(case, good)
        differences = [each for each in differences if each.case == case]
    verdict = path_length.verdict(differences, threshold)
    worst = max(differences, key=lambda each: each.part, default=None)
    if worst is None or verdict != "regression":
        click.echo(words.text(good, bad, differences, threshold), nl=False)
        if verdict != "no regression":
            return UNKNOWN
        click.echo(f"\nNothing to find: {bad.label} is not longer than {good.label}")
        return NOTHING
    note(
        f"{worst.case}: {worst.base.instructions:.2f} -> {worst.new.instructions:.2f} "
        f"instructions, {worst.part:+.2%}"
    )
    return ExactStep(meter, worst.case, max(threshold, worst.part / 2))


def _about(
    between: Bisection, meter: Meter, commit: Commit, threshold: float
) -> tuple[Sequence[str], Mapping[str, Any]]:
    """Return what a commit changed against its parent; nothing where that cannot be measured.

    The commit is known by then, whatever goes wrong here.
    """
    try:
        parent = between.repository.parent(commit.sha)
        pair = [between.kernels.build(each) for each in (parent, commit)]
        whole = [each for each in pair if isinstance(each, Built)]
        if len(whole) < len(pair):
            return (), {}
        base, new = meter.measure(*whole)
    except (FailedError, PackagerError, TargetError, CampaignError) as error:
        note(f"what it changed cannot be measured: {error}")
        return (), {}
    differences = list(path_length.compare(base, new))
    text = words.text(base, new, differences, threshold).rstrip()
    return ["", text], {"change": words.as_json(base, new, differences, threshold)}
