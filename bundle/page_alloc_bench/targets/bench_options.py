# SPDX-License-Identifier: GPL-2.0-only
"""The benchmark's own options, which commands pass on: looked at before anything is done for them.

They are those of this version: of a bundle of another one, only names are known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import page_alloc_bench
from page_alloc_bench.runner.bundle_file.archive import Archive
from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.options import Options, parse
from page_alloc_bench.runner.preflight.host import Host
from page_alloc_bench.runner.preflight.layout import AntagonistSize
from page_alloc_bench.runner.workloads.exact import NAME as EXACT
from page_alloc_bench.targets.machine import Machine
from page_alloc_bench.targets.process import UsageError

_MAX_ORDER = 10  # MAX_PAGE_ORDER where no architecture says otherwise, include/linux/mmzone.h
# What a command that brings results home gives a run itself, and what is not a run.
_GIVEN = ("output_path", "detach")
_NO_RUN = (
    "list", "check", "info", "list_workloads", "preflight", "extract", "attach", "status", "stop",
)  # fmt: skip


@dataclass(frozen=True)
class _Guest(Host):
    """A guest as a check sees it that looks at CPUs and memory alone, all of it free.

    Its pages are taken to be as large as those here.
    """

    memory_bytes: int = 0

    def memory(self) -> dict[str, int]:
        """Return the amount that is available."""
        return {"MemAvailable": self.memory_bytes}


def is_of_this_version(bundle: Archive) -> bool:
    """Return whether this version's options are those of a BUNDLE."""
    return bool(bundle.manifest()["tool"]["version"] == page_alloc_bench.__version__)


def names(words: Sequence[str]) -> set[str]:
    """Return the names of the options among WORDS, of whatever version these are."""
    # Go's flags, which the runner accepts, have one dash or two.
    found = (re.match(r"--?([a-z][a-z-]*)", word) for word in words)
    return {match[1].replace("-", "_") for match in found if match}


def accepts(check: str, words: Sequence[str]) -> bool:
    """Return whether WORDS have a run go on in spite of what a CHECK of the preflight finds."""
    return any(check in word.rpartition("=")[2].split(",") for word in words)


def check_guest(options: Options, machine: Machine, more_cpus: str) -> None:
    """Raise UsageError for CPUs and orders that a guest does not have. MORE_CPUS: how it gets them.

    Whatever the kernel is: its largest order may be smaller yet.
    """
    missing = sorted(set(options.cpus or ()) - set(range(machine.cpus)))
    if missing:
        raise UsageError(
            f"the guest has no CPU {procfs.format_list(missing)}: it has "
            f"{procfs.format_list(list(range(machine.cpus)))}; {more_cpus}"
        )
    if max(options.alloc_orders) > _MAX_ORDER:
        raise UsageError(
            f"order {max(options.alloc_orders)} is too large: the largest is {_MAX_ORDER} "
            "(--alloc-orders)"
        )


def check_size(options: Options, machine: Machine, mem: str) -> None:
    """Raise UsageError where the antagonist is too large for a guest. MEM: how that gets more.

    The runner would refuse it too, but of what is free then.
    """
    memory = machine.memory_mib << 20
    guest = _Guest(options, affinity=set(range(machine.cpus)), memory_bytes=memory)
    for finding in AntagonistSize().look(guest):
        if finding.name not in options.accept:
            raise UsageError(
                f"in the guest {finding.found}: {finding.advice}, or give it more memory with "
                f"{mem}, before the --"
            )


def check_timed(words: Sequence[str], machine: Machine) -> None:
    """Raise UsageError for what cannot be measured in guests like MACHINE, boot after boot."""
    options = _parsed(["--quiet", *words])
    _refuse_given(options)
    check_guest(options, machine, "--cpus N, before the --, gives it more")
    check_size(options, machine, "--mem")


def check_counted(words: Sequence[str], machine: Machine) -> None:
    """Raise UsageError for what cannot be counted in a guest like MACHINE."""
    options = _parsed(["--workload", EXACT, "--quiet", *words])
    if options.workload != [EXACT]:
        raise UsageError(f"--exact counts --workload {EXACT}: leave out --workload")
    _refuse_given(options)
    check_guest(options, machine, "instructions are counted on one CPU")


def check_hosts(words: Sequence[str], bundles: Iterable[Archive] = ()) -> None:
    """Raise UsageError for what cannot be measured on hosts, detached.

    BUNDLES: what runs there, where that was built before; those of another version know their
    options themselves.
    """
    if all(is_of_this_version(each) for each in bundles):
        _refuse_given(_parsed(words), also=("ktap",))
    else:
        given = names(words)
        refuse = [name for name in (*_GIVEN, *_NO_RUN, "ktap") if name in given]
        _refuse(refuse[:1])


def _parsed(words: Sequence[str]) -> Options:
    """Return what WORDS ask for. Ends the process for --help and --version. Raises UsageError."""
    try:
        return parse(list(words))
    except SystemExit as ended:
        if not ended.code:
            raise
        # The runner has said what is wrong.
        raise UsageError(
            "options after the -- are the benchmark's: page-alloc-bench vm -- --help explains them"
        ) from ended


def _refuse_given(options: Options, also: tuple[str, ...] = ()) -> None:
    every = (*_GIVEN, *_NO_RUN, *also)
    _refuse([name for name in every if getattr(options, name) not in (None, False)])


def _refuse(given: Collection[str]) -> None:
    for name in given:
        option = f"--{name.replace('_', '-')}"
        if name in _NO_RUN:
            raise UsageError(f"{option} measures nothing: leave it out")
        raise UsageError(f"{option} is given by this command itself: leave it out")
