# SPDX-License-Identifier: GPL-2.0-only
"""Results of the ancestor are shown and compared by name, less what it measured wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from page_alloc_bench.analysis import results
from page_alloc_bench.cli import main


def written(directory: Path, number: int) -> Path:
    """A result in the ancestor's form, each a little different."""
    names = {
        "idle_available_bytes": [1_900_000_000 + number * 1_000_000, 1_901_000_000],
        "antagonized_available_bytes": [1_850_000_000 + number, 1_849_000_000],
        "kernel_page_allocs": [4_000_000 + number],
        "kernel_page_allocs_remote": [2_000_000],
        "kernel_alloc_failures": [0],
        "kernel_page_alloc_latencies_ns": list(range(500 + number, 1500 + number)),
        "kernel_page_free_latencies_ns": None,
    }
    path = directory / f"{number}.json"
    path.write_text(json.dumps({f"{k}_order{n}": v for n in (0, 4) for k, v in names.items()}))
    return path


def call(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    return done.exit_code, done.output


def test_it_is_shown_with_what_it_measured_right(tmp_path: Path) -> None:
    code, text = call("show", written(tmp_path, 0))
    assert code == 0
    assert "1,812" in text  # MiB, of idle memory
    assert "which it measured wrongly" in " ".join(text.split())
    result = results.load(tmp_path / "0.json")
    assert {name for name, _ in result.metrics} == {
        "idle_available_bytes",
        "antagonized_available_bytes",
        "kernel_page_allocs",
        "kernel_alloc_failures",
        "kernel_page_alloc_latencies_ns",
    }


def test_its_results_are_compared_with_each_other(tmp_path: Path) -> None:
    files = [written(tmp_path, number) for number in range(12)]
    code, text = call("compare", *files[:6], "--vs", *files[6:])
    assert code in (0, 1, 2), text
    assert "idle memory" in text
    assert "free latency" not in text


def test_with_ours_only_if_asked_to(tmp_path: Path) -> None:
    ours = Path(__file__).parents[1] / "data/results/init_on_alloc-1/00.json.gz"
    code, text = call("compare", written(tmp_path, 0), "--vs", ours)
    assert code == 3
    names = [word for word in text.split() if word.startswith("machine.") and word[-1] != ":"]
    assert names
    allowed = [word for name in dict.fromkeys(names) for word in ("--allow-difference", name)]
    more = ("--allow-difference", "parameters", "--allow-difference", "swap")
    code, text = call("compare", tmp_path / "0.json", "--vs", ours, *allowed, *more)
    assert code in (2, 3), text


@pytest.mark.parametrize("extra", [{"something_else_order0": [1]}, {"run": {}}, {"title": "x"}])
def test_what_is_not_of_the_ancestor_is_not_taken_for_it(extra: object, tmp_path: Path) -> None:
    path = written(tmp_path, 0)
    path.write_text(json.dumps({**json.loads(path.read_text()), **extra}))  # type: ignore[dict-item]
    with pytest.raises(results.ResultError, match=r"is not a result of page-alloc-bench|run"):
        results.load(path)
