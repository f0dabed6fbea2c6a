# SPDX-License-Identifier: GPL-2.0-only
"""What is exported, as tests look at it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from page_alloc_bench.analysis import results
from page_alloc_bench.cli import main

DATA = Path(__file__).parent / "data"
SIDE = DATA / "results" / "init_on_alloc-0"
FILES = sorted(SIDE.glob("*.json.gz"))[:3]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def export(form: str, *arguments: object) -> str:
    done = call("export", "--format", form, *arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def edited(tmp_path: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Return a copy of a result that has been changed."""
    document = results.load(FILES[0]).document
    edit(document)
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(document))
    return path


def cut_short(document: dict[str, Any]) -> None:
    document["run"]["complete"] = False
    document["run"]["ended"] = {"complete": False, "reason": "stopped by SIGINT", "exit_code": 130}
    for key in [key for key in document if key.endswith("_order4")]:
        del document[key]
