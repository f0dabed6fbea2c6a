# SPDX-License-Identifier: GPL-2.0-only
"""What a run that goes on by itself needs from the process that started it."""

from __future__ import annotations

from typing import Any, Protocol


class Attendant(Protocol):
    """Takes down how far a detached run is. directory: descriptor that holds the run's lock."""

    directory: int

    def tell(self, values: dict[str, Any]) -> None:
        """Say how far the run is."""

    def begun(self) -> None:
        """Say that the run has begun, and wait until who started it has gone."""

    def written(self) -> None:
        """Say that the result is whole."""
