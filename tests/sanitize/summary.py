# SPDX-License-Identifier: GPL-2.0-only
"""What the tests have seen, printed at the end of scripts/sanitize."""

from __future__ import annotations

import pytest

LINES = pytest.StashKey[list[str]]()


def note(config: pytest.Config, text: str) -> None:
    """Have TEXT in the summary."""
    config.stash[LINES].append(text)
