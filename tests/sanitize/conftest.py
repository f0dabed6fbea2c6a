# SPDX-License-Identifier: GPL-2.0-only
"""Guests on a kernel that tells of every mistake, and what scripts/sanitize may be asked for."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

import attempts
import budget
import lab
import readme
from page_alloc_bench.targets import build_root, kernels, root
from page_alloc_bench.targets.guest import Guest
from sanitize import sanitizers, summary
from sanitize.summary import note

# What proves that silence means something comes first; the fuzzer, which takes longest, last.
_ORDER = ("test_planted.py", "test_module.py", "test_fail_nth.py", "test_fuzz.py")
# Measured on a 2-core machine with nothing else to do; what is in the cache takes no time.
_KERNEL_S = 600.0
_ROOT_S = 60.0
_BUILD_ROOT_S = 90.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of scripts/sanitize."""
    group = parser.getgroup("sanitize")
    group.addoption("--seed", type=int, default=secrets.randbits(32),
                    help="of the fuzzer's choices; by default another one each time")  # fmt: skip
    group.addoption("--operations", type=int, default=1_000_000,
                    help="calls of the device that the fuzzer makes")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Begin a summary, and collect what the tests say that they do."""
    config.pluginmanager.register(attempts.Plugin(config, Path(__file__).parent, readme.SANITIZE))
    config.stash[summary.LINES] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of this directory into their order, behind all others."""
    names = {name: place for place, name in enumerate(_ORDER, start=1)}
    here = Path(__file__).parent
    items.sort(key=lambda item: names[item.path.name] if item.path.parent == here else 0)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Add to what each test takes the making of its kernel, as long as it is not there."""
    here = Path(__file__).parent
    for item in session.items:
        if here in item.path.parents:
            cost = budget.cost_of(item)
            item.stash[budget.COST] = budget.Cost(cost.name, functools.partial(_seconds, cost))


def _seconds(cost: budget.Cost) -> float:
    row = kernels.SANITIZER
    seconds = cost.seconds()
    if not kernels.cached(row):
        seconds += _KERNEL_S
    if row.root and not root.cached(row.root):
        seconds += _ROOT_S
    if not build_root.cached():
        seconds += _BUILD_ROOT_S
    return seconds


@pytest.fixture(scope="module")
def guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """A guest for the tests of one file, with as many CPUs as its CPUS says, or 2."""
    with Guest(
        kernels.fetch(kernels.SANITIZER),
        cpus=getattr(request.module, "CPUS", 2),
        nodes=2,
        memory="2G",
        cmdline_extra=sanitizers.CMDLINE,
        root=kernels.SANITIZER.root or root.DEFAULT,
        boot_timeout=600,
    ) as booted:
        sanitizers.assert_all_is_quiet(booted)
        lab.install(booted)
        name = request.module.__name__.rpartition(".")[2]
        note(
            request.config, f"{name}: {booted.kernel.release} booted in {booted.boot_seconds:.0f} s"
        )
        yield booted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests have seen."""
    lines = terminalreporter.config.stash[summary.LINES]
    if lines:
        terminalreporter.section("sanitizers")
        for line in lines:
            terminalreporter.write_line(line)
