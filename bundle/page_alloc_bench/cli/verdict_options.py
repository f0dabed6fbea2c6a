# SPDX-License-Identifier: GPL-2.0-only
"""The options by which two sides are compared, the same wherever they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from page_alloc_bench import installation

from .sides import percent

Command = TypeVar("Command", bound=Callable[..., Any])


def _thresholds(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    """Return the thresholds; None, so that the defaults hold, where no scipy is there to ask."""
    if value is None:
        return None
    try:
        from page_alloc_bench.analysis import thresholds
    except ImportError as error:
        needed = installation.install_extra("analysis")
        raise click.UsageError(f"{error.name} is not installed; this needs: {needed}") from error
    try:
        return thresholds.parse(value)
    except thresholds.ThresholdError as error:
        raise click.BadParameter(str(error)) from error


def _confidence(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    return confidence(value)


def confidence(value: str) -> float:
    """Return 0.95 for "95%" or "95". Raises click.BadParameter."""
    number = percent(value)
    if not 50 <= number < 100:
        raise click.BadParameter(f"{value!r} is not from 50% to below 100%")
    return number / 100


_OPTIONS = (
    click.option(
        "--threshold",
        "thresholds",
        callback=_thresholds,
        metavar="PERCENT|KIND=PERCENT,...",
        help="The change that matters, for all figures or by kind: memory, rate, median, tail, "
        "instructions, other, and failures, in percent of the attempts.  [default: "
        "memory=2%,rate=5%,median=5%,tail=25%, instructions=0.1%,failures=0.1%,other=5%]",
    ),
    click.option(
        "--confidence",
        callback=_confidence,
        metavar="PERCENT",
        default="95%",
        show_default=True,
        help="Of all intervals that decide, together; and of having no false verdict if nothing "
        "has changed.",
    ),
    click.option(
        "--allow-difference",
        "allow",
        multiple=True,
        metavar="NAME",
        help="Compare although this fact differs, such as thp.enabled, or parameters for all of "
        "them. May be given more than once.",
    ),
    click.option(
        "--metric",
        "only",
        multiple=True,
        metavar="NAME[:STATISTIC]",
        help="Decide by this only, such as idle_available_bytes, 'kernel_*_latencies_ns:p99' or "
        "idle_available_bytes_order4. May be given more than once.",
    ),
    click.option(
        "--all-statistics",
        "everything",
        is_flag=True,
        help="Show and test everything that has a better direction. Each additional test makes the "
        "others weaker.",
    ),
    click.option(
        "--not-shown-worse",
        is_flag=True,
        help="Say that there is no regression if none is shown. Without it, each figure must be "
        "shown to be no worse than its threshold.",
    ),
    click.option(
        "--accept-order",
        is_flag=True,
        help="Decide though one side was measured before the other.",
    ),
    click.option(
        "--filter",
        "filters",
        multiple=True,
        metavar="FACT=PATTERN",
        help="Take only the results that have this, such as machine.cpus_used=0-3 or "
        "'kernel.release=6.1*'. May be given more than once.",
    ),
)

_OF_A_COMPARISON = frozenset(
    ("thresholds", "confidence", "allow", "only", "everything", "not_shown_worse", "accept_order")
)


def verdict_options(command: Command) -> Command:
    """Give a command the options: thresholds, confidence, allow, only, everything, filters, ..."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given(context: click.Context) -> list[str]:
    """Return which of the options were given that say how two sides are compared, not which."""
    names = {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in _OF_A_COMPARISON
    }
    return [
        option
        for name, option in names.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    ]
