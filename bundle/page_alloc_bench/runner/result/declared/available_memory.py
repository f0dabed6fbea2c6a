# SPDX-License-Identifier: GPL-2.0-only
"""What the default workload measures: available memory without an antagonist, then with one."""

from __future__ import annotations

from collections.abc import Iterator

from page_alloc_bench.runner.result.latency_metrics import latencies
from page_alloc_bench.runner.result.metrics import Kind, Loss, Metric, Phase, Rank, Subtest

_IDLE, _ANTAGONIZED = "idle", "antagonized"
_PHASES = ((_IDLE, "with no antagonist"), (_ANTAGONIZED, "while the antagonist runs"))
_ALLOCS, _FREES = "kernel_page_allocs", "kernel_page_frees"
_FAILURES, _REMOTE = "kernel_alloc_failures", "kernel_page_allocs_remote"
_HELD = "antagonist_held_bytes"

PHASES = (
    Phase("configure", (Subtest("configured"),)),
    Phase(_IDLE, (Subtest("idle"),), measured=True, types=("before", "after")),
    Phase("steady_wait", (Subtest("steady"),), types=("before",)),
    Phase(_ANTAGONIZED, (Subtest("antagonized"),), measured=True, pressed=True),
    Phase("stop", (Subtest("stopped"),), types=("after",)),
    Phase(
        "results",
        (
            Subtest("latencies"),
            Subtest(
                "reconciled",
                (f"{_ALLOCS}_per_cpu", f"{_FREES}_per_cpu"),
                "{lost} blocks were allocated and not freed",
            ),
        ),
    ),
)

# What lies where at the OOM kill: part of the name, what it is, and whether less of it is better.
_LEFT = (
    ("free", "Free in the zones", True),
    (
        "min_watermark",
        "Of what was free in the zones, what lies below their min watermarks and is not for user"
        " space",
        False,
    ),
    ("pcp", "Free on the lists that each CPU keeps", True),
    (
        "user",
        "In the hands of other processes, of the child's own start-up, and in the page cache",
        True,
    ),
    ("slab", "In the slab allocator's hands", True),
    ("page_tables", "Page tables of all processes, most of them the child's", True),
    ("kernel_stack", "Stacks of the kernel's threads", True),
    (
        "unnamed",
        "In no counter of the kernel: drivers', modules', per-CPU data's; without what the"
        " antagonist held",
        True,
    ),
)
_REPORTED = "one item per iteration whose OOM kill the kernel reported."


def _amount(
    name: str, description: str, *, lower: bool = True, label: str = "", family: str = "",
    rank: Rank = Rank.REST, phase: str = "", short: str = "", **more: object,
) -> Metric:  # fmt: skip
    """Return an amount that is measured in each iteration."""
    stem, _, unit = name.rpartition("_")
    return Metric(
        name, unit, "lower" if lower else "higher", description, Kind.AMOUNT,
        label or stem.replace("_", " "), short, per="iteration", family=family or name, rank=rank,
        phase=phase, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def _available(phase: str, when: str) -> Iterator[Metric]:
    """Yield what is known of the memory that the child got in a phase."""
    antagonized = phase == _ANTAGONIZED
    yield _amount(
        f"{phase}_available_bytes",
        f"Memory that findlimit's child got before the OOM killer ended it, {when}, as the child"
        " counted it; one item per iteration.",
        lower=False, label=f"{phase} memory", short="antag memory" if antagonized else "",
        family="available memory", rank=Rank.SHOWN, stand_in_for=f"{phase}_reachable_bytes",
        in_table=True, section="available", phase=phase, subtest=phase, contracted=True,
    )  # fmt: skip
    yield _amount(
        f"{phase}_reachable_bytes",
        "What the child got and what lay free on the lists of each CPU at its OOM kill together,"
        f" {when}: it varies less than the first; {_REPORTED}",
        lower=False, label=f"{phase} reachable memory",
        short="antag reach" if antagonized else "idle reach",
        family="available memory", rank=Rank.PRIMARY, phase=phase,
    )  # fmt: skip
    yield _amount(
        f"{phase}_available_rss_bytes",
        f"The same as wait4's maximum resident set tells it, {when}: a second witness; one item per"
        " iteration.",
        lower=False, family="available memory by RSS", phase=phase,
    )  # fmt: skip
    yield _amount(
        f"{phase}_findlimit_duration_ns",
        f"From the child's first fault to its death with all its memory freed, {when}; one item per"
        " iteration.",
        family="duration", phase=phase,
    )  # fmt: skip
    yield _amount(
        f"{phase}_release_duration_ns",
        f"From the child's death until its memory was seen to be free again, {when}; one item per"
        " iteration.",
        family="duration", phase=phase,
    )  # fmt: skip
    yield _amount(
        f"{phase}_memavailable_bytes",
        f"MemAvailable just before findlimit's child began, {when}; one item per iteration.",
        lower=False, phase=phase, surroundings=not antagonized,
    )  # fmt: skip
    yield _amount(
        f"{phase}_child_page_tables_bytes",
        "Page tables that mapped what findlimit's child had, by the kernel's log,"
        f" {when}; one item per iteration.",
        phase=phase,
    )  # fmt: skip
    yield from _left(phase, when)


def _left(phase: str, when: str) -> Iterator[Metric]:
    """Yield what lay where when the child was killed."""
    for part, what, compared in _LEFT:
        yield Metric(
            f"{phase}_left_{part}_bytes", "bytes", "lower" if compared else None,
            f"{what} when the child was killed, {when}, by the kernel's report; {_REPORTED}",
            Kind.AMOUNT, f"{phase} left {part.replace('_', ' ')}", per="iteration",
            family=f"{phase}_left_{part}_bytes", rank=Rank.REST if compared else None, phase=phase,
        )  # fmt: skip


_ANTAGONIST = (
    Metric(
        _HELD, "bytes", None,
        "What the antagonist held at the moment when the kernel called the OOM killer; one item per"
        " antagonized iteration.",
        Kind.AMOUNT, "antagonist holds", per="iteration", in_table=True, phase=_ANTAGONIZED,
        subtest="antagonized",
    ),
    Metric(
        "antagonist_steady_duration_ns", "ns", None,
        "How long the antagonist ran in its steady state, from when every worker had held --held"
        " blocks once until it was stopped; one item.",
        Kind.AMOUNT, "steady duration of the antagonist",
    ),
)  # fmt: skip

_WORK = (
    Metric(
        _ALLOCS, "blocks", None,
        "Successful allocations of the antagonist on all CPUs, from its start to its stop; one"
        " item. A block is 2^order pages.",
        Kind.COUNT, "allocations", subtest="reconciled", contracted=True,
    ),
    Metric(
        _FREES, "blocks", None,
        "Blocks that the antagonist freed, from its start to its end; one item. Equals"
        " kernel_page_allocs unless memory was lost.",
        Kind.COUNT, "frees", subtest="reconciled",
    ),
    Metric(
        "kernel_page_allocs_per_second", "blocks/s", "higher",
        "kernel_page_allocs_steady by antagonist_steady_duration_ns: allocations per second of all"
        " CPUs together; one item.",
        Kind.RATE, "allocation rate", "alloc rate", counts=_ALLOCS, family="rate",
        rank=Rank.PRIMARY, section="throughput", phase=_ANTAGONIZED, subtest="reconciled",
        remark="{per_cpu:,.0f} allocations/s per CPU, {value:,} on {cpus} CPUs",
    ),
    Metric(
        _FAILURES, "allocations", "lower",
        "Allocations of the antagonist that got nothing; one item.",
        Kind.SHARE, "failures", of=(_ALLOCS, _FAILURES), family="share", rank=Rank.SHOWN,
        section="failures", subtest="reconciled", contracted=True,
        remark="{value:,} allocations failed", remark_of_none=False,
    ),
    Metric(
        _REMOTE, "blocks", "lower",
        "Of kernel_page_allocs, the blocks whose node is not the nearest node with memory of the"
        " CPU that asked; one item.",
        Kind.SHARE, "remote allocations", "remote", of=(_ALLOCS,), family="share",
        rank=Rank.SHOWN, section="throughput", subtest="reconciled", contracted=True,
        remark="{whole:,} in all, {share:.2f} % remote",
    ),
    Metric(
        "kernel_page_allocs_steady", "blocks", None,
        "Of kernel_page_allocs, those within antagonist_steady_duration_ns; one item.",
        Kind.COUNT, "allocations in the steady state",
    ),
)  # fmt: skip


def _by_the_kernel(word: str) -> Iterator[Metric]:
    """Yield what the kernel's own counters say of pages, and what is ours of that."""
    yield Metric(
        f"kernel_pages_{word}_by_vmstat", "pages", None,
        f"Pages {word} on the whole machine from the antagonist's start to its stop, by the"
        " kernel's own counters in /proc/vmstat; one item.",
        Kind.COUNT, f"pages {word} by vmstat",
    )  # fmt: skip
    yield Metric(
        f"kernel_pages_{word}_by_us", "pages", None,
        f"Of these, what the antagonist {word} and what the findlimit children of whole iterations"
        " got; one item.",
        Kind.COUNT, f"pages {word} by us",
    )  # fmt: skip


def _of_each_cpu(name: str, unit: str) -> Metric:
    return Metric(
        f"{name}_per_cpu", unit, None, f"{name} of each CPU, in the order of run.cpus.",
        Kind.COUNT, f"{name.replace('_', ' ')} of each CPU", per="cpu", counts=name,
    )  # fmt: skip


METRICS = (
    *(metric for phase in _PHASES for metric in _available(*phase)),
    *_ANTAGONIST,
    *_WORK,
    *(metric for word in ("allocated", "freed") for metric in _by_the_kernel(word)),
    *(_of_each_cpu(name, "blocks") for name in (_ALLOCS, _FREES)),
    _of_each_cpu(_FAILURES, "allocations"),
    _of_each_cpu(_REMOTE, "blocks"),
    *latencies(
        "kernel_page_alloc", "successful allocations", label="allocation", short="alloc",
        key="alloc", rank=Rank.PRIMARY, of=(_ALLOCS,), contracted=True,
        remark="timed {value:,} of {whole:,} allocations",
    ),
    *latencies(
        "kernel_page_free", "frees", label="free", short="free", key="free", rank=Rank.PRIMARY,
        of=(_FREES,), contracted=True,
    ),
    # A failed allocation is rare, and the first attempts are few: not what a verdict rests on.
    *latencies(
        "kernel_alloc_failure", "failed allocations", label="failed allocation", short="failed",
        key="failure", rank=Rank.REST, of=(_FAILURES,), course=False,
    ),
)  # fmt: skip

LOSSES = (
    Loss(
        without=f"{_IDLE}_available_bytes",
        beside=f"{_ANTAGONIZED}_available_bytes",
        held=_HELD,
        parts=(
            ("oom_free_bytes", "left free in the zones"),
            ("oom_free_pcp_bytes", "left free on per-CPU lists"),
        ),
        of=("memory", "memory with the lists of the CPUs"),
        text="idle - antagonized - what the antagonist holds",
        labels=(
            "available when idle",
            "available beside the antagonist",
            "less than idle, in all",
            "held by the antagonist",
            "elsewhere",
        ),
        title=(
            "beside the antagonist the child gets {total} less, of which the antagonist holds"
            " {held}"
        ),
        sentence="{total} less memory is available beside the antagonist",
        explanation=(
            "What the child got less than when idle, and where that was when the kernel called the"
            " OOM killer, by its own report."
        ),
    ),
)
