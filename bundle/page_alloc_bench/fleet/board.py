# SPDX-License-Identifier: GPL-2.0-only
"""A table of what each host does, for who watches on a terminal."""

from __future__ import annotations

import textwrap
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
_LEAST_REASON = 20  # columns for it, to be broken into lines


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
        yield Text(f"{len(self.hosts)} hosts: {told}", no_wrap=True, overflow="ellipsis")
        room = max(1, (console.height or _HIGHEST) - _AROUND)
        shown = sorted(entries, key=lambda host: (_group(entries[host]), host))
        table = Table(box=None, pad_edge=False, expand=True, width=options.max_width)
        table.add_column("host", no_wrap=True, overflow="ellipsis", max_width=30)
        table.add_column("state", no_wrap=True)
        table.add_column("since", no_wrap=True, justify="right")
        table.add_column("what", no_wrap=True, overflow="ellipsis", ratio=1)
        for host in shown[:room]:
            table.add_row(*map(Text, self._row(host, entries[host])))
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
        if columns is not None and columns >= len(head) + _LEAST_REASON:
            line = textwrap.fill(
                line, columns, subsequent_indent=" " * len(head), break_long_words=False,
                break_on_hyphens=False,
            )  # fmt: skip
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
