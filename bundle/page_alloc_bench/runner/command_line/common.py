# SPDX-License-Identifier: GPL-2.0-only
"""The options that every run takes, whatever it measures."""

from __future__ import annotations

from page_alloc_bench.runner import workload
from page_alloc_bench.runner.result.names import DEFAULT_WORKLOAD

from .option import (
    Cpus,
    Flag,
    Group,
    Integer,
    Labels,
    Latencies,
    Names,
    Option,
    Orders,
    Seconds,
    Text,
    Word,
)

_MAX_SAMPLE = 1 << 22  # PAB_MAX_SAMPLE in kmod/page_alloc_bench.h


def what() -> Group:
    """Return the option that says what to measure, of the workloads that there are."""
    told = "; ".join(f"{name}: {each.isolates}" for name, each in workload.every().items())
    but = " and ".join(name for name, each in workload.every().items() if not each.in_all)
    option = Option(
        "workload",
        Names(),
        [workload.DEFAULT],
        f"what to measure, one after the other; all: these but {but}. {told}",
        metavar="NAME[,NAME...]",
    )
    return Group(RUN.title, (option,))


RUN = Group(
    "the run",
    (
        Option(
            "iterations",
            Integer(1, 1_000_000),
            5,
            "how often available memory is measured in each phase",
            metavar="N",
            kind="invalidating",
            workload=DEFAULT_WORKLOAD,
            quick=1,
        ),
        Option(
            "alloc_orders",
            Orders(),
            [0, 4],
            "orders to measure one after the other; a block is 2^order pages",
            metavar="LIST",
            kind="invalidating",
        ),
        Option(
            "quick",
            Flag(),
            False,
            "measure less of everything, to see in short whether anything is worse",
        ),
        Option(
            "timeout_s",
            Seconds(),
            0.0,
            "give up after this time; 0 for never",
            metavar="SECONDS",
            unit="seconds",
            kind="ignored",
        ),
        Option(
            "cpus",
            Cpus(),
            None,
            "CPUs to use, like 0-3,8",
            metavar="LIST",
            default_text="all that this process may use",
        ),
        Option(
            "findlimit_mmap_size_gib",
            Integer(0, 1 << 20),
            0,
            "size of the mappings that the child fills, in GiB; 0 adapts it to the machine",
            metavar="GIB",
            unit="GiB",
            kind="invalidating",
            workload=DEFAULT_WORKLOAD,
        ),
        Option(
            "thp",
            Word("inherit", "always", "never"),
            "inherit",
            "transparent huge pages for the child's memory; inherit leaves it to the host",
            kind="invalidating",
            workload=DEFAULT_WORKLOAD,
        ),
        Option(
            "build_on_target",
            Flag(),
            False,
            "if the bundle holds no module for this kernel, compile it here: needs the kernel's "
            "headers, make and a compiler",
        ),
    ),
)

SAFETY = Group(
    "the host",
    (
        Option(
            "accept",
            Names(),
            [],
            "run in spite of these findings of --preflight, at your own risk",
            metavar="NAME[,NAME...]",
            kind="other",
            described="Findings that the user accepted.",
            always=False,
        ),
        Option(
            "no_swap",
            Flag(),
            False,
            "keep the child's memory out of swap, by locking it",
            kind="invalidating",
            described="The child's memory was locked, and so kept out of swap.",
            always=False,
            workload=DEFAULT_WORKLOAD,
        ),
        Option(
            "stall_s",
            Seconds(),
            120.0,
            "give up when nothing has moved for this time, neither memory nor the OOM killer, and "
            "record what the kernel says about it; 0 for never",
            metavar="SECONDS",
            unit="seconds",
            kind="ignored",
            described="How long nothing may move before the run gives up; 0: for ever.",
            always=False,
        ),
    ),
)

# What the module's workers do besides their pattern; the help tells it after the antagonist's.
WORKERS = Group(
    "the antagonist",
    (
        Option(
            "seed",
            Integer(0, 2**63 - 1),
            1,
            "seed of every random choice; the same seed repeats the sequence of a run",
            metavar="N",
            kind="ignored",
        ),
        Option(
            "latencies",
            Latencies(),
            "sampled",
            "operations to time: sampled is one in 64, chosen at random in advance, so that "
            "reading the clock costs little; all gives exact tails and costs throughput; "
            "true and false mean sampled and none",
            metavar="{sampled,all,none}",
            kind="invalidating",
        ),
        Option(
            "sample_size",
            Integer(1, _MAX_SAMPLE),
            50_000,
            "latencies kept per metric and order, over all CPUs together",
            metavar="N",
            unit="latencies",
            kind="other",
        ),
    ),
)

OUTPUT = Group(
    "output",
    (
        Option(
            "output_path",
            Text(),
            None,
            "where the JSON goes; none discards it",
            metavar="FILE",
            default_text="stdout, or where that is a terminal, "
            "page-alloc-bench-RELEASE-TIME.json in the current directory",
        ),
        Option(
            "ktap",
            Flag(),
            False,
            "print KTAP version 1 on stdout, for kernel CI; JSON goes to --output-path only",
        ),
        Option(
            "label",
            Labels(),
            {},
            "what to call this run by in a store; may be given more than once. The host's name is "
            "recorded only so: --label host=NAME",
            metavar="KEY=VALUE",
        ),
        Option("quiet", Flag(), False, "print only warnings and errors on stderr, no summary"),
        Option("verbose", Flag(), False, "say in detail what is done and found"),
    ),
)

DETACHED = Group(
    "a run without its connection",
    (
        Option(
            "detach",
            Flag(),
            False,
            "start the run so that it goes on by itself, and return once it has begun",
        ),
        Option(
            "attach",
            Flag(),
            False,
            "follow such a run, and fetch its result when it is over",
            exclusive=True,
        ),
        Option(
            "status",
            Flag(),
            False,
            "tell how far the run on this host is (JSON unless stdout is a terminal)",
            exclusive=True,
        ),
        Option(
            "stop",
            Flag(),
            False,
            "end the run on this host as SIGTERM does, and wait until the host is clean",
            exclusive=True,
        ),
    ),
)

BUNDLE = Group(
    "the bundle itself (no root needed)",
    (
        Option("list", Flag(), False, "list the files in the bundle", exclusive=True),
        Option("check", Flag(), False, "verify every byte of the bundle", exclusive=True),
        Option("info", Flag(), False, "tell which kernels it has modules for", exclusive=True),
        Option("list_workloads", Flag(), False, "list what it can measure", exclusive=True),
        Option(
            "preflight",
            Flag(),
            False,
            "look at the host, print what is found (JSON unless stdout is a terminal), and exit; "
            "with 3 if a run would be refused",
            exclusive=True,
        ),
        Option(
            "extract",
            Text(),
            None,
            "lay out its content in DIR; DIR/run.sh runs it",
            metavar="DIR",
            exclusive=True,
        ),
        Option("keep", Flag(), False, "do not remove the scratch directory, and name it"),
    ),
)
