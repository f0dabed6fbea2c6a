# SPDX-License-Identifier: GPL-2.0-only
"""All options that there are, in the order of the help."""

from __future__ import annotations

from page_alloc_bench.runner import workload

from . import common
from .option import Group, Option, Part


def every() -> dict[str, list[Option]]:
    """Return the options of each group by its title."""
    own = [Group(part.title, part.options) for part in parts().values()]
    groups: dict[str, list[Option]] = {}
    for group in (
        common.what(),
        common.RUN,
        common.SAFETY,
        *own,
        common.WORKERS,
        common.OUTPUT,
        common.DETACHED,
        common.BUNDLE,
    ):
        if group.options:
            groups.setdefault(group.title, []).extend(group.options)
    return groups


def parts() -> dict[str, Part]:
    """Return what has options of its own, by its name."""
    return {part.name: part for each in workload.every().values() for part in each.parts()}
