# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench bisect``: find the commit that made an allocation longer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from page_alloc_bench.analysis.instructions import path_length, words
from page_alloc_bench.analysis.instructions.path_length import Case
from page_alloc_bench.campaign import bisection, exact_step
from page_alloc_bench.campaign.bisection import Found, Steps
from page_alloc_bench.campaign.build_cache import Built
from page_alloc_bench.campaign.exact_step import ExactStep, FailedError, Meter
from page_alloc_bench.campaign.journal import Journal
from page_alloc_bench.campaign.revisions import Commit, Repository
from page_alloc_bench.cli import ab_revisions, ab_verdict, exact_sides, revision_options
from page_alloc_bench.cli.ab import in_directory
from page_alloc_bench.cli.common import CONTEXT, BenchCommand, Codes, complain
from page_alloc_bench.cli.exact_sides import Side
from page_alloc_bench.cli.revision_options import Kernels
from page_alloc_bench.targets.cache import note

FOUND, NOTHING, UNKNOWN = range(3)
_PLANNED = ("metric", "threshold", "cmdline", "memory", "by_function", "bench_options")


class _Command(BenchCommand):
    """0 is a commit, 1 that there is none, 2 that it cannot be told, 4 is about the bad one."""

    codes = Codes(failed=ab_verdict.TROUBLE, usage=ab_verdict.REFUSED)


@click.command(cls=_Command, context_settings=CONTEXT)
@click.option("--exact", "by_instructions", is_flag=True, help="Judge by counted instructions.")
@click.option(
    "--metric",
    metavar="NAME",
    help="What to follow, such as exact_pairs_instructions_per_1000_operations_order0.  "
    "[default: what differs most]",
)
@revision_options.options
@click.option("--cmdline", default="", metavar="WORDS", help="More arguments of the kernels.")
@exact_sides.options
@exact_sides.words("GOOD BAD [-- OPTION...]")
def bisect(
    *, by_instructions: bool, directory: Path | None, words: tuple[str, ...], **options: Any
) -> None:
    """Find the commit between two revisions, GOOD and BAD, that made an allocation longer.

    First GOOD is held against BAD: without a difference there is nothing to find. Then commits
    between them are built and booted twice each, until one is left. A commit is bad if it is
    beyond the middle between GOOD and BAD. Those that do not build or boot are skipped. Options of
    the benchmark follow a `--`.
    """
    if not by_instructions:
        raise click.UsageError("give --exact: nothing else can be bisected yet")
    revisions, options["bench_options"] = exact_sides.split(words)
    if len(revisions) != len(("good", "bad")):
        raise click.UsageError("give two revisions of --tree, GOOD and BAD")
    sys.exit(in_directory(directory, lambda place: _run(place, revisions, options)))


def _run(directory: Path, revisions: list[str], options: dict[str, Any]) -> int:
    case = exact_step.case(options["metric"]) if options["metric"] else None
    asked = ab_revisions.asked(options)
    repository = asked.repository()
    good, bad = map(repository.commit, revisions)
    repository.require_ancestor(good, bad)
    kernels = Kernels(asked, repository, good)
    plan = {name: options[name] for name in _PLANNED}
    plan |= {**kernels.plan([good, bad]), "mode": "exact bisect"}
    journal = Journal(directory)
    if journal.begin(plan):
        note(f"going on with {directory}")
    kernels.compare_configs(good, bad)
    built = []
    for commit, code in ((good, ab_verdict.TROUBLE), (bad, ab_verdict.NEW_FAILS)):
        kernel = kernels.build(commit)
        if not isinstance(kernel, Built):
            return code
        built.append(kernel)

    def side(name: str, kernel: Built) -> Side:
        called, image, bundle = kernel.label, kernel.image, kernel.bundle
        return Side(name, called, image, kernel.arch, bundle, options, options["cmdline"])

    meter = Meter(journal, side, options["jobs"] or os.cpu_count() or 1, note)
    try:
        measured = meter.measure(*built)
    except FailedError as error:
        complain(str(error))
        return ab_verdict.NEW_FAILS if error.name == bad.short else ab_verdict.TROUBLE
    step = _step(meter, measured, case, options["threshold"])
    if isinstance(step, int):
        return step
    found = bisection.search(
        repository, built[0], bad,
        prepare=kernels.builder.build, step=step, steps=Steps(directory), note=note,
    )  # fmt: skip
    return _tell(repository, kernels, meter, found, options["threshold"])


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
        text = words.text(good, bad, differences, threshold)
        click.echo(f"{text}\nNothing to find: {bad.label} is not longer than {good.label}")
        return NOTHING if verdict == "no regression" else UNKNOWN
    note(
        f"{worst.case}: {worst.base.instructions:.2f} -> {worst.new.instructions:.2f} "
        f"instructions, {worst.part:+.2%}"
    )
    return ExactStep(meter, worst.case, max(threshold, worst.part / 2))


def _tell(
    repository: Repository, kernels: Kernels, meter: Meter, found: Found, threshold: float
) -> int:
    """Print the commit, or those of which it is one, and what it changed; keep it."""
    lines = [f"after {found.steps} steps:"]
    document: dict[str, Any] = {
        "suspects": [commit.sha for commit in found.suspects],
        "steps": found.steps,
    }
    if len(found.suspects) == 1:
        (commit,) = found.suspects
        lines = [f"{commit.sha} is the first bad commit, {lines[0][:-1]}", f"  {commit.subject}"]
        lines.append(f"  {repository.authored(commit.sha)}")
        change = _change(repository, kernels, meter, commit)
        if change is not None:
            base, new, differences = change
            lines += ["", words.text(base, new, differences, threshold).rstrip()]
            document["change"] = words.as_json(base, new, differences, threshold)
    else:
        lines.append("it is one of these, and the others could not be measured:")
        lines += [f"  {commit.label}" for commit in found.suspects]
    text = "\n".join(lines) + "\n"
    (meter.journal.directory / "verdict.txt").write_text(text)
    (meter.journal.directory / "verdict.json").write_text(json.dumps(document, indent=1) + "\n")
    click.echo(text, nl=False)
    return FOUND if len(found.suspects) == 1 else UNKNOWN


def _change(
    repository: Repository, kernels: Kernels, meter: Meter, commit: Commit
) -> tuple[path_length.Side, path_length.Side, list[path_length.Difference]] | None:
    """Return what a commit changed against its parent; None where that cannot be measured."""
    pair = [kernels.build(each) for each in (repository.parent(commit.sha), commit)]
    whole = [each for each in pair if isinstance(each, Built)]
    if len(whole) < len(pair):
        return None
    try:
        base, new = meter.measure(*whole)
    except FailedError as error:
        note(str(error).splitlines()[0])
        return None
    return base, new, list(path_length.compare(base, new))
