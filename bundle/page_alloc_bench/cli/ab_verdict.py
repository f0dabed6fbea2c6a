# SPDX-License-Identifier: GPL-2.0-only
"""The verdicts of an exact comparison: printed, kept, and as an exit code."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from page_alloc_bench import installation
from page_alloc_bench.analysis.instructions import path_length, releases, words
from page_alloc_bench.campaign.kernel_config import Difference
from page_alloc_bench.campaign.verdict_codes import NEW_FAILS, NONE, REGRESSION, TROUBLE, UNKNOWN
from page_alloc_bench.cli.exact_sides import Side
from page_alloc_bench.targets.cache import note

_CODES = {"no regression": NONE, "regression": REGRESSION, "cannot tell": UNKNOWN}
_ORDER = (TROUBLE, NEW_FAILS, REGRESSION, UNKNOWN, NONE)  # the worst first
_COLUMNS = 72


@dataclass
class Pair:
    """Two sides by their names. differing: options in which their configurations differ."""

    base: str
    new: str
    differing: Sequence[Difference] = ()


@dataclass
class Comparison:
    """What is booted, and which of it is held against what.

    failed: why sides cannot be booted. labels: of the sides that are not in SIDES.
    """

    sides: Sequence[Side]
    pairs: Sequence[Pair]
    failed: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def label(self, name: str) -> str:
        """Return what people call a side."""
        found = {side.name: side.label for side in self.sides}
        return found.get(name) or self.labels[name]


def tell(
    directory: Path,
    made: Comparison,
    whole: Sequence[path_length.Side],
    failed: Mapping[str, str],
    threshold: float,
) -> int:
    """Print the verdict on each pair, keep it in DIRECTORY, and return the worst as exit code.

    WHOLE: the sides that were measured. FAILED: the others, and why.
    """
    measured = {side.name: side for side in whole}
    codes, texts, documents = [], [], []
    bases = {pair.base for pair in made.pairs} - {pair.new for pair in made.pairs}
    for pair in made.pairs:
        if pair.new in failed or pair.base in failed:
            codes.append(TROUBLE if failed.keys() & {pair.base} & bases else NEW_FAILS)
            text, document = _failure(made, pair, failed)
        else:
            base, new = measured[pair.base], measured[pair.new]
            differences = list(path_length.compare(base, new))
            codes.append(_CODES[path_length.verdict(differences, threshold)])
            text = words.text(base, new, differences, threshold)
            document = words.as_json(base, new, differences, threshold)
        texts.append(text + _configurations(pair))
        document["config_differences"] = [asdict(each) for each in pair.differing]
        documents.append(document)
    if len(whole) > 2:
        texts.append(_tell_all(directory, whole))
    text = "\n".join(texts)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "verdict.txt").write_text(text)
    (directory / "verdict.json").write_text(json.dumps(documents, indent=1) + "\n")
    click.echo(text, nl=False)
    return next(code for code in _ORDER if code in codes)


def _tell_all(directory: Path, measured: Sequence[path_length.Side]) -> str:
    """Keep the table and the picture of all kernels; return the table as text."""
    found = releases.gather(measured)
    (directory / "costs.md").write_text(releases.markdown(found))
    try:
        from page_alloc_bench.analysis.instructions import drawn
    except ImportError as error:
        needed = installation.install_extra("analysis")
        note(f"no picture: {error.name} is not installed; this needs: {needed}")
    else:
        drawn.save(found, directory / "costs.svg")
    return releases.text(found)


def _failure(made: Comparison, pair: Pair, failed: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    side = "new" if pair.new in failed else "base"
    why = failed[getattr(pair, side)]
    labels = {"base": made.label(pair.base), "new": made.label(pair.new)}
    lines = [
        f"base: {labels['base']}",
        f"new:  {labels['new']}",
        *textwrap.wrap(f"{side} fails: {' '.join(why.splitlines()[:1])}", _COLUMNS),
    ]
    return "\n".join(lines) + "\n", {**labels, "verdict": f"{side} fails", "reason": why}


def _configurations(pair: Pair) -> str:
    if not pair.differing:
        return ""
    rows = ", ".join(f"{each.symbol} {each.base} -> {each.new}" for each in pair.differing)
    said = f"The configurations differ in {len(pair.differing)} options: {rows}."
    return "\n".join(textwrap.wrap(said, _COLUMNS, max_lines=4)) + "\n"
