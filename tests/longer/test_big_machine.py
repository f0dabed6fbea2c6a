# SPDX-License-Identifier: GPL-2.0-only
"""Results of 1024 CPUs and 64 nodes, by simulation, are compared and drawn."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

import big_machine
from page_alloc_bench.cli import main


def test_compare_and_report_take_it(tmp_path: Path) -> None:
    result, _took = big_machine.ran(big_machine.make_tree(tmp_path / "tree"))
    document: dict[str, Any] = json.loads(result.read_text())
    for month, (side, release) in enumerate((("base", "6.1"), ("new", "6.2")), 1):
        (tmp_path / side).mkdir()
        for number in range(2):
            run = copy.deepcopy(document)
            run["run"]["kernel"]["release"] = release
            run["run"]["started_at"] = f"2026-0{month}-0{number + 1}T00:00:00Z"
            run["antagonist_held_bytes_order0"] = [2 * month + number]  # no two are one run
            path = tmp_path / side / f"{number}.json"
            path.write_text(json.dumps(run))
    compared = CliRunner().invoke(
        main, ["compare", str(tmp_path / "base"), "--vs", str(tmp_path / "new")]
    )
    assert compared.exit_code == 2, compared.output
    page = tmp_path / "page.html"
    done = CliRunner().invoke(main, ["report", str(tmp_path / "base"), "-o", str(page)])
    assert done.exit_code == 0, done.output
    assert "CPU 1023" in page.read_text()
    assert page.stat().st_size < big_machine.MOST_BYTES
