# SPDX-License-Identifier: GPL-2.0-only
"""The manual's table of costs by release is what its command makes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from costs import MANUAL, PICTURE, directory, table, update, words

COMMAND = words(MANUAL.read_text())
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in table(MANUAL.read_text()).splitlines()
    if line.startswith("|")
]


def given(option: str) -> Sequence[str]:
    """What the command gives an option, as often as it is there."""
    return [value for word, value in zip(COMMAND, COMMAND[1:]) if word == option]


def test_the_table_has_the_kernels_of_the_command_in_their_order() -> None:
    kernels = [*given("--base"), *given("--new")]
    assert len(kernels) >= 5
    assert ROWS[0] == ["pattern", "order", *kernels, f"{kernels[-1]} against {kernels[0]}"]


def test_it_has_each_pattern_at_each_order_of_the_command() -> None:
    orders = set(map(int, given("--alloc-orders")[0].split(",")))
    there = {(row[0], int(row[1])) for row in ROWS[2:]}
    patterns = {pattern for pattern, _ in there}
    assert patterns >= {"antagonist", "bursts", "pairs"}
    for pattern in ("antagonist", "bursts", "pairs"):
        assert {order for name, order in there if name == pattern} == orders


def test_the_last_column_is_the_change_of_the_figures_in_the_row() -> None:
    assert ROWS[2:]
    for row in ROWS[2:]:
        first, last = (float(row[n].replace(",", "")) for n in (2, -2))
        assert float(row[-1].removesuffix("%")) == pytest.approx(100 * (last / first - 1), abs=0.1)


def test_who_grew_is_told_of_each_step() -> None:
    kernels = [*given("--base"), *given("--new")]
    text = table(MANUAL.read_text())
    for before, after in zip(kernels, kernels[1:]):
        assert re.search(rf"^- pairs at order 0, {before} → {after}, [+-]", text, re.MULTILINE)


def test_the_picture_has_a_panel_for_each_pattern() -> None:
    picture = PICTURE.read_text()
    for pattern in {row[0] for row in ROWS[2:]}:
        assert pattern in picture


def test_another_table_takes_its_place_and_nothing_else_changes() -> None:
    page = MANUAL.read_text()
    other = update(page, "| another |\n")
    assert table(other) == "| another |\n"
    assert update(other, table(page)) == page
    assert table(update(update(page, ""), "| another |\n")) == "| another |\n"
    assert directory(words(other)) == directory(COMMAND)
