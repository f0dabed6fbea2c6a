# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/calibrate runs: the table of how often a verdict is right."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import page_alloc_bench
from calibrate import bounds, campaigns, scenarios
from calibrate.campaigns import Outcome, Truth
from calibrate.measure import CHANGES, CONFIDENCE, THRESHOLD, Rates, level, measure
from calibrate.scenarios import Scenario

MANUAL = Path(page_alloc_bench.__file__).parent / "manual/calibration.md"
REPETITIONS = 10_000
CAMPAIGNS = 2_000
# Above what is promised by so much, a figure is a fault: with 10,000 repetitions, chance reaches a
# third of it.
SLACK = 0.015


def cases() -> Iterator[tuple[Scenario, int]]:
    """Yield each scenario with the boots a side that it is tried with."""
    for scenario in scenarios.ALIKE:
        for n in scenarios.SIZES:
            yield scenario, n
    for scenario in (*scenarios.UNEQUAL, *scenarios.FIRST, *scenarios.CLUSTERED):
        yield scenario, 10


def rows(repetitions: int, seed: int) -> Iterator[tuple[Scenario, int, Rates]]:
    for scenario, n in cases():
        yield scenario, n, measure(scenario, n, repetitions, seed)


def faults(scenario: Scenario, n: int, rates: Rates) -> Iterator[str]:
    """Yield what is worse than promised."""
    alpha = 1 - CONFIDENCE
    where = f"{scenario.name}, {n} boots"
    if rates.told and rates.coverage < CONFIDENCE - SLACK:
        yield f"{where}: intervals cover the truth in {rates.coverage:.1%}"
    exact = level(scenario, n)
    straight = scenario.course is scenarios.straight
    if exact and straight and rates.told and abs(rates.coverage - exact) > SLACK:
        yield f"{where}: intervals cover the truth in {rates.coverage:.1%}, not in {exact:.1%}"
    if rates.worse + rates.better > alpha + SLACK:
        yield f"{where}: {rates.worse:.1%} false worse, {rates.better:.1%} false better"
    if rates.same > alpha + SLACK:
        yield f"{where}: {rates.same:.1%} false same"


def line(scenario: Scenario, n: int, rates: Rates) -> str:
    """Return a row of the table, in percent."""
    boots = "" if scenario.sizes else str(n)
    if not rates.told:
        return f"| {scenario.name} | {boots} | cannot tell |" + " |" * (4 + len(CHANGES))
    exact = level(scenario, n)
    figures = (rates.coverage, rates.worse, rates.better, rates.same, *rates.power)
    cells = ["" if exact is None else f"{100 * exact:.1f}", *(f"{100 * f:.1f}" for f in figures)]
    return f"| {scenario.name} | {boots} | {' | '.join(cells)} |"


def table(lines: list[str], repetitions: int, seed: int) -> str:
    powers = [f"power at {change:g} sd" for change in CHANGES]
    heads = ["", "boots", "exact", "coverage", "false worse", "false better", "false same", *powers]
    about = f"Percent of {repetitions:,} repetitions, seed {seed}."
    return "\n".join(
        [about, "", f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1), *lines]
    )


def campaign_faults(truth: Truth, out: Outcome) -> Iterator[str]:
    """Yield what is worse than promised of campaigns that stop early."""
    if truth.to_the_end and out.claimed > campaigns.ALPHA + SLACK:
        yield f"{truth.name}: {out.claimed:.1%} false alarms"
    if truth.of == campaigns.METRICS and truth.moved == truth.threshold:
        if out.no_regression > campaigns.ALPHA + SLACK:
            yield f"{truth.name}: {out.no_regression:.1%} false no regression"
        if out.regression > campaigns.ALPHA / 2 + SLACK:
            yield f"{truth.name}: {out.regression:.1%} false regressions"
    if truth.moved >= 2 and truth.threshold < 1 and out.regression < 0.95:
        yield f"{truth.name}: power {out.regression:.1%}"


def campaign_line(truth: Truth, out: Outcome) -> str:
    """Return a row of the table of campaigns, in percent and boots."""
    claimed = f"{100 * out.claimed:.1f}" if truth.to_the_end else ""
    parts = out.regression, out.early, out.no_regression, out.futile
    figures = [claimed, *(f"{100 * part:.1f}" for part in parts), f"{out.boots:.1f}"]
    return f"| {truth.name} | {' | '.join(figures)} |"


def campaign_table(lines: list[str], repetitions: int, seed: int) -> str:
    heads = ["", "any claim", "regression", "within 12 boots", "no regression", "futile", "boots"]
    about = f"Percent of {repetitions:,} campaigns, and mean boots a side. Seed {seed}."
    return "\n".join(
        [about, "", f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1), *lines]
    )


def update(name: str, text: str) -> None:
    """Write the table between the marks of this name of the manual's page."""
    begin, end = f"<!-- {name}: written by scripts/calibrate -->", f"<!-- {name}: end -->"
    page = MANUAL.read_text()
    marked = re.compile(rf"{begin}\n.*?{end}", flags=re.DOTALL)
    new, count = marked.subn(lambda _: f"{begin}\n{text}\n{end}", page)
    if count != 1:
        raise ValueError(f"{MANUAL} has {count} pairs of the marks, not one")
    MANUAL.write_text(new)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/calibrate",
        description="Print how often verdicts are right where the truth is known: coverage of the "
        f"intervals ({CONFIDENCE:.0%} is promised), false verdicts, and power. The threshold is "
        f"{THRESHOLD:g} sd.",
    )
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, metavar="N")
    parser.add_argument("--campaigns", type=int, default=CAMPAIGNS, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--update-manual", action="store_true", help="write the tables there")
    options = parser.parse_args()
    wrong = [*_one_look(options), *_campaigns(options)]
    _bounds(update_manual=options.update_manual)
    for fault in wrong:
        print(f"not as promised: {fault}")
    return 1 if wrong else 0


def _one_look(options: argparse.Namespace) -> list[str]:
    """Print, and write, the table of verdicts; return what is not as promised."""
    if not options.repetitions:
        return []
    lines, wrong = [], []
    for scenario, n, rates in rows(options.repetitions, options.seed):
        lines.append(line(scenario, n, rates))
        wrong += faults(scenario, n, rates)
        print(lines[-1], flush=True)
    if options.update_manual and lines:
        update("calibration", table(lines, options.repetitions, options.seed))
    return wrong


def _campaigns(options: argparse.Namespace) -> list[str]:
    """Print, and write, the table of campaigns; return what is not as promised."""
    lines, wrong = [], []
    for truth in campaigns.truths() if options.campaigns else ():
        out = campaigns.measure(truth, options.campaigns, options.seed)
        lines.append(campaign_line(truth, out))
        wrong += campaign_faults(truth, out)
        print(lines[-1], flush=True)
    if options.update_manual and lines:
        update("campaigns", campaign_table(lines, options.campaigns, options.seed))
    return wrong


def _bounds(*, update_manual: bool) -> None:
    """Print, and write, the table of what no stop rule can surpass."""
    lines = []
    for row in bounds.lines():
        lines.append(row)
        print(row, flush=True)
    if update_manual:
        update("bounds", bounds.table(lines))


if __name__ == "__main__":
    raise SystemExit(main())
