# SPDX-License-Identifier: GPL-2.0-only
"""A table of what each host does, for who watches on a terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from page_alloc_bench.runner.result.columns import wrap

from . import journal, outcome
from .crossover import BEGUN
from .journal import Journal

WAITING = "waiting"
_STATES = {
    journal.DRAINING: "draining",
    journal.DRAINED: "beginning",
    journal.DETACHED: "running",
    BEGUN: "running",
    journal.DECIDED: "removing",
    journal.REMOVED: "removed",
}
_HIGHEST = 24  # lines, where the terminal does not say
_AROUND = 4  # lines besides the hosts: counts, heading, what is left out, and the cursor's
_A_SECOND = 1
_LEAST_REASON = 20  # columns for it beside the host; with fewer it is below
_INDENT = 4
_HOST, _LEAST_WHAT = 30, 10


def state(entry: Mapping[str, Any]) -> str:
    """Return what a host does, from its last line in the journal: its outcome if it is over."""
    step = entry.get("step")
    if step == journal.OVER:
        return str(entry["outcome"])
    return _STATES.get(step, WAITING) if step else WAITING


@dataclass(frozen=True)
class Board:
    """The hosts of a fleet. latest: by host, what its run told last; it changes meanwhile."""

    journal: Journal
    hosts: Sequence[str]
    latest: Mapping[str, str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, no higher and no wider than the terminal."""
        known = dict(self.journal.hosts)
        entries = {host: known.get(host, {}) for host in self.hosts}
        counts = Counter(map(state, entries.values()))
        told = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        width = options.max_width
        about = f"{len(self.hosts)} hosts: {told}"
        yield Text(about if len(about) <= width else f"{wrap(about, width - 2)[0]} …")
        room = max(1, (console.height or _HIGHEST) - _AROUND)
        shown = sorted(entries, key=lambda host: (_group(entries[host]), host))
        rows = [self._row(host, entries[host]) for host in shown[:room]]
        # Both are whole, however narrow the terminal is; the rest has what they leave.
        whole = [max(map(len, column)) for column in list(zip(*rows, strict=True))[1:3]]
        whole = [max(had, len(name)) for had, name in zip(whole, ("state", "since"), strict=True)]
        left = width - sum(whole) - 2 * len(whole)
        table = Table(box=None, pad_edge=False, expand=True, width=width)
        table.add_column("host", no_wrap=True, overflow="ellipsis", max_width=min(left, _HOST))
        table.add_column("state", no_wrap=True, min_width=whole[0])
        table.add_column("since", no_wrap=True, justify="right", min_width=whole[1])
        beside = left - min(_HOST, max(len(row[0]) for row in rows)) > _LEAST_WHAT
        if beside:
            table.add_column("what", no_wrap=True, overflow="ellipsis", ratio=1)
        for row in rows:
            table.add_row(*map(Text, row if beside else row[:-1]))
        yield table
        if len(shown) > room:
            yield Text(f"and {len(shown) - room} more")

    def _row(self, host: str, entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
        since = _duration(time.time() - entry["at"]) if entry else ""
        what = entry["reason"] if "reason" in entry else self.latest.get(host, "")
        return host, state(entry), since, str(what)


def _group(entry: Mapping[str, Any]) -> int:
    """Return how late a host is shown: what goes on first, then what went wrong."""
    if entry.get("step") == journal.OVER:
        return 2 if state(entry) == outcome.OK else 1
    return 0 if entry else 3


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def lines(told: Mapping[str, Mapping[str, Any]], columns: int | None) -> Iterator[str]:
    """Yield a line for each host. told: by host, its last line in the journal.

    columns: of the terminal, in which long lines are broken; None for one line each.
    """
    width = max(map(len, told), default=0)
    for host, entry in told.items():
        head = f"{host:{width}}  {state(entry):11}  "
        line = f"{head}{entry.get('reason', '')}".rstrip()
        if columns is not None and len(line) > columns:
            beside = columns >= len(head) + _LEAST_REASON
            indent = " " * (len(head) if beside else _INDENT)
            line = "\n".join([
                *([] if beside else [head.rstrip()]),
                *wrap(entry.get("reason", ""), columns, indent, first=head if beside else indent),
            ])  # fmt: skip
        yield line


@contextmanager
def shown(board: Board) -> Iterator[None]:
    """Show a board under what goes to stderr, while the body runs, if that is a terminal."""
    console = Console(stderr=True)
    if not console.is_interactive:
        yield
        return
    with Live(
        board, console=console, refresh_per_second=_A_SECOND, transient=True, redirect_stdout=False
    ):
        yield
