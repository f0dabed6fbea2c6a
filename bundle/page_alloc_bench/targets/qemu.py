# SPDX-License-Identifier: GPL-2.0-only
"""One QEMU under its keeper: its scratch directory, its console, and how it ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from page_alloc_bench import space
from page_alloc_bench.space import Room
from page_alloc_bench.targets import kept
from page_alloc_bench.targets.kept import Kept
from page_alloc_bench.targets.process import TargetError, describe, tail

_ROOM = Room(64, 20)


class Qemu:
    """A QEMU that ends, and whose files go, with the process that made it.

    ``scratch`` is there from the start, for what the command line refers to, until remove().
    """

    def __init__(self) -> None:
        _require_room()
        self._kept = Kept("guest")
        self.scratch = self._kept.path
        self._last_console = ""
        self._starved = 0.0

    def start(self, argv: Sequence[str]) -> None:
        """Have QEMU started, whose command line is ARGV."""
        self._kept.start(argv)

    def alive(self) -> bool:
        """Return whether QEMU still runs."""
        return self._kept.keeper.poll() is None and not (self.scratch / "exit").exists()

    def status(self) -> int | None:
        """Return the exit status of a QEMU that has ended by itself, else None."""
        status = self.scratch / "exit"
        return int(status.read_text()) if status.exists() else None

    def starved_s(self) -> float:
        """Return how long QEMU has waited for a CPU of this host so far, in seconds.

        Documentation/scheduler/sched-stats.rst: schedstat of a task; 0 where there is none. After
        its end, what was known when this was last asked.
        """
        try:
            pid = (self.scratch / "pid").read_text()
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
            waits = [int((task / "schedstat").read_text().split()[1]) for task in tasks]
        except (OSError, ValueError, IndexError):
            return self._starved
        # When it ends, its threads go before it does.
        self._starved = max(self._starved, max(waits, default=0) / 1e9)
        return self._starved

    def console(self) -> str:
        """Return what the guest wrote to its serial console so far, also after its end."""
        path = self.scratch / "console"
        if path.exists():
            self._last_console = path.read_text(errors="replace")
        return self._last_console

    def remove(self) -> None:
        """End QEMU at once and remove its files; a second time does nothing."""
        self.console()
        self._kept.remove()

    def why_it_ended(self) -> TargetError:
        """Return the error that says how QEMU, or the kernel in it, ended."""
        log = self.scratch / kept.OUTPUT
        said = tail(log.read_text(errors="replace")) if log.exists() else ""
        status = self.status()
        how = "its keeper was killed" if status is None else describe(status)
        # The line that says why scrolls out of a panic's last lines.
        why = next((line for line in self.console().splitlines() if "Kernel panic" in line), "")
        what = f"the guest's kernel panicked: {why}" if why else "QEMU ended"
        return TargetError(f"{what} ({how}){': ' + said if said else ''}{self.quote_console()}")

    def quote_console(self) -> str:
        """Return the end of the console, as the last words of an error."""
        last = tail(self.console())
        return f"\nits console ends:\n{last}" if last else "; its console is empty"


def _require_room() -> None:
    """Raise TargetError where QEMU cannot write: a guest whose disk cannot be written to stands."""
    try:
        # Where QEMU keeps what the guest changes of its root.
        for place in (kept.parent(), Path(os.environ.get("TMPDIR") or "/var/tmp")):  # noqa: S108
            lacking = space.shortage(place, _ROOM)
            if lacking:
                raise TargetError(f"a guest {lacking}: make room there, or {kept.ELSEWHERE}")
    except OSError as error:
        raise kept.no_place(error) from error
