# SPDX-License-Identifier: GPL-2.0-only
"""From two revisions to a verdict: what it costs, and how often it is right."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import campaigns
import recorded
from calibrate import campaigns as campaigns_of_chance
from kernel_history import CONFIG, FRAGMENT, History
from page_alloc_bench.analysis.campaign_directory import read
from page_alloc_bench.campaign import kernel_config
from page_alloc_bench.campaign.kernel_build import Builder
from page_alloc_bench.campaign.revisions import Repository
from page_alloc_bench.campaign.timed.judging import judge
from page_alloc_bench.packager import build
from page_alloc_bench.targets import accel, bootable
from page_alloc_bench.targets.outcome import Outcome
from perf.figures import Figure, at_least, at_most

COMMITS, CULPRIT = 16, 11
KERNEL = "6.1"
BOOTS = 6
CAMPAIGNS = 4000
_RUN = ("--workload", "pairs", "--duration-s", "5", "--repeat", "1", "--alloc-orders", "0")


def alone() -> Iterator[Figure]:
    """Go through up to forty boots of recorded results with all looks, and no guest.

    The shortest boots and runs take 7 s: 5 % of that is the bar.
    """
    recordings = itertools.cycle(recorded.documents(recorded.BASE))

    def whole(number: int) -> Outcome:
        document = copy.deepcopy(next(recordings))
        document["run"] |= {"boot_id": str(uuid.uuid4())}
        key = "kernel_page_allocs_order0"
        document[key] = [value + number for value in document[key]]
        return Outcome("ok", document)

    sides = [campaigns.Kernel(name, iter(())) for name in ("base", "new")]
    for side in sides:
        side.ends = whole
    with tempfile.TemporaryDirectory(prefix="pab-perf.") as scratch:
        began = time.process_time()
        campaigns.run(Path(scratch), *sides, judge=lambda d: replace(judge(d), hopeless=False))
        taken = time.process_time() - began
        boots = len(read(Path(scratch)).attempts)
    yield at_most(f"ab: its CPU time for each of {boots} boots, s", taken / boots, 0.35)


def overhead() -> Iterator[Figure]:
    """Compare a kernel with itself, in twelve boots, whose module has been built before."""
    kernel = bootable.find(KERNEL)
    with tempfile.TemporaryDirectory(prefix="pab-perf.") as scratch:
        directory = Path(scratch)
        bundle = directory / "bundle-0.run"
        build.build(build.BuildRequest(**vars(kernel.request), output=bundle))
        words = ["ab", "--base", KERNEL, "--aa", "--max-boots", str(BOOTS), "--cpus", "2"]
        words += ["--nodes", "1", "--mem", "512M", "--accel", "tcg", "--dir", scratch, "--", *_RUN]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "page_alloc_bench.cli", *words],
            check=False,
            capture_output=True,
            text=True,
        )
        taken = time.monotonic() - began
        if done.returncode > 2:
            raise RuntimeError(f"ab ended with {done.returncode}:\n{done.stderr}")
        booted = sum(each["wall"] for each in read(directory).attempts)
    yield at_most("ab: its time beside boots and runs, %", 100 * (1 - booted / taken), 5)


def probe() -> Iterator[Figure]:
    """Ask whether KVM may run guests here."""
    began = time.monotonic()
    accel.fault("amd64")
    yield at_most("ab: whether KVM can be used is known after, s", time.monotonic() - began, 1)


def stopping() -> Iterator[Figure]:
    """Simulate campaigns of 16 metrics that stop as soon as they can tell."""
    plain = next(campaigns_of_chance.truths())
    outcome = campaigns_of_chance.measure(plain, CAMPAIGNS)
    yield at_most("ab: false alarms of campaigns that stop early, share", outcome.claimed, 0.05)
    moved = replace(plain, moved=2.0, of=campaigns_of_chance.METRICS, to_the_end=False)
    outcome = campaigns_of_chance.measure(moved, CAMPAIGNS)
    yield at_least("ab: all worse by 2 sd: found, share", outcome.regression, 0.95)
    yield at_most("ab: all worse by 2 sd: boots a side, mean", outcome.boots, 12)
    moved = replace(moved, of=1)
    outcome = campaigns_of_chance.measure(moved, CAMPAIGNS)
    yield at_least("ab: one of 16 worse by 2 sd: found, share", outcome.regression, 0.95)
    yield at_most("ab: one of 16 worse by 2 sd: boots a side, mean", outcome.boots, 12)


def revisions() -> Iterator[Figure]:
    """Build the next revision of a small kernel, and find a commit among sixteen, all new ones."""
    with tempfile.TemporaryDirectory(prefix="pab-perf.") as scratch:
        history = History(Path(scratch) / "linux.git")
        history.series(COMMITS, CULPRIT, f"{uuid.uuid4()} ")
        tree = Repository(history.path)
        asked = kernel_config.asked(CONFIG, [FRAGMENT])
        builder = Builder(tree, asked, tree.commit("base"))
        builder.build(tree.commit("base"))
        began = time.monotonic()
        builder.build(tree.commit("series~15"))
        yield at_most("ab: the next revision is built after, s", time.monotonic() - began, 60)
        words = [sys.executable, "-m", "page_alloc_bench.cli", "bisect", "base", "series"]
        words += ["--exact", *history.options(), "--dir", f"{scratch}/kept", "--"]
        words += ["--alloc-orders", "0", "--exact-allocs", "100000"]
        began = time.monotonic()
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        minutes = (time.monotonic() - began) / 60
        culprit = tree.commit(f"series~{COMMITS - CULPRIT}").sha
        if done.returncode or not done.stdout.startswith(f"{culprit} is the first bad commit"):
            raise RuntimeError(f"bisect ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        steps = len(Path(f"{scratch}/kept/steps.jsonl").read_text().splitlines())
    yield at_most(f"bisect --exact of {COMMITS} commits, steps", steps, 5)
    yield at_most(f"bisect --exact of {COMMITS} commits, minutes", minutes, 10)
