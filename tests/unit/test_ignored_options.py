# SPDX-License-Identifier: GPL-2.0-only
"""An option that means nothing beside the others is refused: it is never silently ignored."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import recorded
from page_alloc_bench.cli import main

ONE = sorted(recorded.BASE.iterdir())[0]
OTHER = sorted(recorded.NEW.iterdir())[0]
SIDES = (ONE, "--vs", OTHER)
COMPARING: dict[str, tuple[str, ...]] = {
    "--threshold": ("2%",),
    "--confidence": ("95%",),
    "--allow-difference": ("nosuch",),
    "--metric": ("nosuch",),
    "--all-statistics": (),
    "--not-shown-worse": (),
    "--accept-order": (),
}


def call(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    return done.exit_code, done.stderr


@pytest.mark.parametrize("option", COMPARING)
@pytest.mark.parametrize("picture", ["--png", "--svg"])
def test_a_report_that_compares_nothing_takes_no_option_of_a_comparison(
    option: str, picture: str, tmp_path: Path
) -> None:
    words = (option, *COMPARING[option])
    page, pictures = tmp_path / "x.html", tmp_path / "pictures"
    for sides, to in (
        ((ONE,), ("-o", page)),
        ((ONE,), (picture, pictures)),
        ((ONE,), ("-o", page, picture, pictures)),
        (SIDES, (picture, pictures)),
    ):
        code, told = call("report", *sides, *to, *words)
        assert (code, told.startswith(f"error: {option} is about a comparison")) == (2, True), told
    assert not page.exists()
    assert not pictures.exists()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--metric", "no metric in common matches nosuch. There are: idle_available_bytes, "),
        ("--allow-difference", "--allow-difference: "),
    ],
)
def test_a_wrong_name_is_told_before_anything_is_drawn(
    option: str, told: str, tmp_path: Path
) -> None:
    page, pictures = tmp_path / "x.html", tmp_path / "pictures"
    words = (option, "nosuch", "-o", page, "--svg", pictures)
    code, said = call("report", *SIDES, *words)
    assert code == 2
    assert told in said
    assert "There are: " in said
    assert not page.exists()
    assert not pictures.exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("compare", *SIDES), 3),
        (("report", *SIDES, "-o", "PAGE"), 2),
    ],
)
def test_all_statistics_and_some_exclude_each_other(
    words: tuple[object, ...], code: int, tmp_path: Path
) -> None:
    asked = [tmp_path / "x.html" if word == "PAGE" else word for word in words]
    ended, told = call(*asked, "--all-statistics", "--metric", "idle_available_bytes")
    assert (ended, "leave out one of them" in told) == (code, True), told
    assert not (tmp_path / "x.html").exists()


def test_a_list_of_kernels_fetches_nothing() -> None:
    code, told = call("kernels", "--list", "--refresh")
    assert (code, "leave out --refresh" in told) == (2, True)
