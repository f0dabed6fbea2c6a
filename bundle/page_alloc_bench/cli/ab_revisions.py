# SPDX-License-Identifier: GPL-2.0-only
"""The sides of `ab BASE NEW --tree` and `ab BASE..BRANCH --each`: revisions, built here."""

from __future__ import annotations

from typing import Any

from page_alloc_bench.campaign.build_cache import Built, NotBuilt
from page_alloc_bench.campaign.journal import Journal
from page_alloc_bench.campaign.revisions import Commit, Repository
from page_alloc_bench.cli import revision_options
from page_alloc_bench.cli.ab_timed import Kernel
from page_alloc_bench.cli.ab_verdict import Comparison, Pair
from page_alloc_bench.cli.exact_sides import Side
from page_alloc_bench.cli.revision_options import Asked, Kernels
from page_alloc_bench.targets.cache import note

_PLANNED = ("cmdline_base", "cmdline_new", "memory", "by_function", "bench_options")
_BUILD = ("tree", "config", "fragments", "make_words", "rebuild", "jobs")


def asked(options: dict[str, Any]) -> Asked:
    """Return what the options say of the revisions."""
    return Asked(**{name: options[name] for name in _BUILD})


def comparison(journal: Journal, revisions: list[str], options: dict[str, Any]) -> Comparison:
    """Return what is to be compared with what; write the plan, and build the kernels."""
    wanted = asked(options)
    repository = wanted.repository()
    named, pairs = _named(repository, revisions, each=options["each"])
    commits = list(named.values())
    revision_options.warn_of_uncommitted(repository, commits)
    kernels = Kernels(wanted, repository, commits[0])
    plan: dict[str, Any] = {name: options[name] for name in _PLANNED}
    plan |= {**kernels.plan(commits), "mode": "exact", "each": options["each"]}
    if journal.begin(plan):
        note(f"going on with {journal.directory}")
    for pair in pairs:
        pair.differing = kernels.compare_configs(named[pair.base], named[pair.new])
    built = {name: kernels.build(commit) for name, commit in named.items()}
    return _comparison(journal, built, pairs, plan)


def built(
    revisions: list[str], options: dict[str, Any]
) -> tuple[dict[str, Kernel], Comparison | None]:
    """Return the kernels of two revisions for a comparison by time; or what does not build."""
    found, failed = both(revisions, options)
    return {name: timed(kernel) for name, kernel in found.items()}, failed


def both(
    revisions: list[str], options: dict[str, Any]
) -> tuple[dict[str, Built], Comparison | None]:
    """Return two revisions as they were built; or what does not build."""
    wanted = asked(options)
    repository = wanted.repository()
    named, (pair,) = _named(repository, revisions, each=False)
    revision_options.warn_of_uncommitted(repository, list(named.values()))
    kernels = Kernels(wanted, repository, named["base"])
    pair.differing = kernels.compare_configs(named["base"], named["new"])
    found: dict[str, Built] = {}
    failed = {}
    for name, commit in named.items():
        kernel = kernels.build(commit)
        if isinstance(kernel, Built):
            found[name] = kernel
        else:
            failed[name] = f"it does not build: {kernel.reason}"
    labels = {name: commit.label for name, commit in named.items()}
    return found, Comparison((), [pair], failed, labels) if failed else None


def timed(kernel: Built) -> Kernel:
    """Return a revision as a comparison by time takes it."""
    identity = {"commit": kernel.commit.sha, "kernel": kernel.directory.name}
    return Kernel(
        kernel.label, kernel.arch, kernel.release, kernel.image, identity, lambda: kernel.bundle
    )


def _named(
    repository: Repository, revisions: list[str], *, each: bool
) -> tuple[dict[str, Commit], list[Pair]]:
    """Return the commits by the names of their sides, the oldest first, and what meets what."""
    if not each:
        base, new = map(repository.commit, revisions)
        return {"base": base, "new": new}, [Pair("base", "new")]
    named: dict[str, Commit] = {}
    pairs = []
    for parent, commit in repository.series(revisions[0]):
        for which in (parent, commit):
            named.setdefault(which.short, which)
        pairs.append(Pair(parent.short, commit.short))
    return named, pairs


def _comparison(
    journal: Journal, built: dict[str, Built | NotBuilt], pairs: list[Pair], plan: dict[str, Any]
) -> Comparison:
    bases = {pair.base for pair in pairs} - {pair.new for pair in pairs}
    whole = [pair for pair in pairs if isinstance(built[pair.base], Built)]
    whole = [pair for pair in whole if isinstance(built[pair.new], Built)]
    booted = {name for pair in whole for name in (pair.base, pair.new)}
    known = {(each["side"], each["end"]) for each in journal.attempts()}
    sides, failed = [], {}
    for name, kernel in built.items():
        if isinstance(kernel, NotBuilt):
            failed[name] = f"it does not build: {kernel.reason}"
            if (name, "build-failed") not in known:
                journal.record(name, 0, end="build-failed", reason=kernel.reason)
        elif name in booted:
            cmdline = plan["cmdline_base" if name in bases else "cmdline_new"]
            sides.append(
                Side(name, kernel.label, kernel.image, kernel.arch, kernel.bundle, plan, cmdline)
            )
    labels = {name: kernel.commit.label for name, kernel in built.items()}
    return Comparison(sides, pairs, failed, labels)
