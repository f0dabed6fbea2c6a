# SPDX-License-Identifier: GPL-2.0-only
"""A host's console: what a command of the user's writes while the host restarts and measures."""

from __future__ import annotations

import io
import os
from dataclasses import replace

from page_alloc_bench.targets.kept import OUTPUT, Kept
from page_alloc_bench.targets.outcome import Outcome, panic
from page_alloc_bench.targets.process import command_words

_MOST = 1 << 20  # bytes of its end that are kept
# How boots end that a console may know more of.
_UNCLEAR = ("boot-timeout", "hang-in-run", "wrong-kernel")


class Console:
    """A context manager in whose body the command runs, and ends with it. None for no console."""

    def __init__(self, command: str | None) -> None:
        self._command = command
        self._kept: Kept | None = None

    def __enter__(self) -> Console:
        """Start the command. Raises UsageError."""
        if self._command is not None:
            words = command_words(self._command, option="--console")
            self._kept = Kept("console")
            self._kept.start(words)
        return self

    def __exit__(self, *_: object) -> None:
        """End the command, and all that it has started."""
        if self._kept is not None:
            self._kept.remove()

    def text(self) -> str:
        """Return what it has written so far."""
        try:
            with (self._kept.path / OUTPUT).open("rb") if self._kept else io.BytesIO() as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _MOST))
                return file.read().decode(errors="replace")
        except FileNotFoundError:  # it has not begun
            return ""

    def told(self, outcome: Outcome) -> Outcome:
        """Return an outcome with this console, and with the panic that it may show."""
        text = self.text()
        if not text:
            return outcome
        line = panic(text) if outcome.end in _UNCLEAR else None
        if line is None:
            return replace(outcome, console=text)
        reason = f"{outcome.reason}; its console has: {line}"
        return replace(outcome, end="panic", reason=reason, console=text)
