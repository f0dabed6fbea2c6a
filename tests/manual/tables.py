# SPDX-License-Identifier: GPL-2.0-only
"""The tables of the manual and of the README that are made from declarations."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.cli import exit_codes
from page_alloc_bench.runner import errors

from . import declared
from .declared import MANUAL, TOP, Row

_EXAMPLE = "tests/data/results/init_on_alloc-1/03.json.gz"


@dataclass(frozen=True)
class Generated:
    """A part of a document, between two marks that name it and the script that writes it.

    make: returns the Markdown that belongs there.
    """

    path: Path
    name: str
    make: Callable[[], str]

    def update(self, text: str) -> str:
        """Return the text of the document with this part as it should be."""
        begin = f"<!-- {self.name}: written by scripts/manual -->"
        end = f"<!-- {self.name}: end -->"
        pattern = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
        new, count = pattern.subn(lambda _match: self.make() + "\n", text)
        if count != 1:
            raise ValueError(f"{self.path} has {count} pairs of the marks {begin}, not one")
        return new


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(name: str) -> str:
    return f"`{name}`".replace("|", "\\|")


def _options(rows: Iterable[Row]) -> str:
    return table(("option", "meaning"), ((_code(row.name), row.meaning) for row in rows))


def _bundle() -> str:
    parts = [f"**{group.title}**\n\n{_options(group.rows)}" for group in declared.bundle_groups()]
    return "\n\n".join(parts)


def _command(name: str) -> Callable[[], str]:
    def make() -> str:
        return _options(next(c.rows for c in declared.commands() if c.name == name))

    return make


def _codes(codes: Sequence[tuple[str, str]]) -> Callable[[], str]:
    return lambda: table(("exit code", "meaning"), codes)


def _checks() -> str:
    head = ("name", "", "what is looked at", "what it would mean")
    return table(head, ((_code(name), *rest) for name, *rest in declared.checks()))


def _metrics() -> str:
    rows = (
        (_code(name), unit, better, declared.escaped(text))
        for name, unit, better, text in declared.metrics()
    )
    return table(("name", "unit", "better", "what it is"), rows)


def _workloads() -> str:
    rows = ((_code(row.name), row.meaning) for row in declared.workloads())
    return table(("workload", "what it tells"), rows)


def _subtests() -> str:
    rows = (
        (
            _code(name),
            ", ".join(_code(each.name) for each in those),
            ", ".join(_code(each.name) for each in those if each.balance),
        )
        for name, those in declared.subtests()
    )
    return table(("workload", "subtests of an order", "fails if a block is lost"), rows)


def _topics() -> str:
    folder = MANUAL.relative_to(TOP)
    rows = ((f"[{row.name}]({folder}/{row.name}.md)", row.meaning) for row in declared.topics())
    return table(("topic", "what it is about"), rows)


def _summary() -> str:
    """Return what show prints of order 0 of a recorded run, in 80 columns."""
    done = subprocess.run(
        [sys.executable, "-m", "page_alloc_bench.cli", "show", _EXAMPLE],
        cwd=TOP, env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(TOP / "bundle")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    shown = done.stdout.partition("\n\n  latencies of all timed")[0].splitlines()[1:]
    return "\n".join(["```", *shown, "```"])


GENERATED = (
    Generated(TOP / "README.md", "summary", _summary),
    Generated(TOP / "README.md", "topics", _topics),
    Generated(MANUAL / "run.md", "options", _bundle),
    *(
        Generated(MANUAL / f"{topic}.md", f"options of {name}", _command(name))
        for topic, name in (
            ("build", "build"),
            ("guest", "vm"),
            ("guest", "kernels"),
            ("show", "show"),
            ("compare", "compare"),
            ("report", "report"),
            ("export", "export"),
            ("query", "query"),
            ("trend", "trend"),
            ("ab", "ab"),
            ("patches", "bisect"),
            ("exact", "kconfig"),
            ("fleet", "fleet run"),
            ("fleet", "fleet collect"),
            ("fleet", "fleet ab"),
            ("store", "store add"),
            ("install", "completion"),
        )
    ),
    Generated(MANUAL / "preflight.md", "checks", _checks),
    Generated(MANUAL / "measurement.md", "workloads", _workloads),
    Generated(MANUAL / "ktap.md", "subtests", _subtests),
    Generated(MANUAL / "metrics.md", "metrics", _metrics),
    Generated(MANUAL / "exit-codes.md", "bundle", _codes(errors.EXIT_CODES)),
    Generated(MANUAL / "exit-codes.md", "compare", _codes(exit_codes.COMPARE)),
    Generated(MANUAL / "exit-codes.md", "ab", _codes(exit_codes.AB)),
    Generated(MANUAL / "exit-codes.md", "fleet ab", _codes(exit_codes.FLEET_AB)),
    Generated(MANUAL / "exit-codes.md", "bisect", _codes(exit_codes.BISECT)),
    Generated(MANUAL / "exit-codes.md", "trend", _codes(exit_codes.TREND)),
    Generated(MANUAL / "exit-codes.md", "commands", _codes(exit_codes.COMMANDS)),
)
