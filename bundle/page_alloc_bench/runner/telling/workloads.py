# SPDX-License-Identifier: GPL-2.0-only
"""What --list-workloads says."""

from __future__ import annotations

from page_alloc_bench.runner import options as command_line
from page_alloc_bench.runner import workload
from page_alloc_bench.runner.measuring import estimate
from page_alloc_bench.runner.result import columns


def listed() -> str:
    """Return the workloads: name, what each isolates, needs, takes, and its options."""
    lines: list[str] = []
    for each in workload.every().values():
        lines.append(each.name + (" (measured by default)" * (each.name == workload.DEFAULT)))
        own = [option.flag for part in each.parts() for option in part.options]
        for title, text in (
            ("isolates", each.isolates),
            ("needs", each.needs),
            ("takes", _takes(each)),
            ("options", " ".join(own) or "none of its own"),
        ):
            lines += columns.wrap(text, columns.of(1), " " * 12, first=f"  {title:<10}")
    return "\n".join(lines)


def _takes(each: workload.Workload) -> str:
    """Return how long a workload takes with its own defaults."""
    options = command_line.parse(["--workload", each.name])
    quick = command_line.parse(["--workload", each.name, "--quick"])
    if each.asked is None:
        if fills := workload.fills(options):
            return f"{fills} fills of the memory, {workload.fills(quick)} with --quick"
        return f"{estimate.duration(sum(each.seconds.values()))} for each order"
    usual, short = (
        [(order, each.seconds_of(asked, order)[phase]) for phase, order in each.plan(asked)]
        for asked in (options, quick)
    )
    orders = list(dict.fromkeys(str(order) for order, seconds in usual if seconds))
    of = f"order{'s' * (len(orders) > 1)} {','.join(orders)}"
    usual_s, short_s = (estimate.duration(sum(s for _, s in each)) for each in (usual, short))
    return f"{usual_s} for {of}, {short_s} with --quick"
