# SPDX-License-Identifier: GPL-2.0-only
"""The table of all that was done to runs on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

import attempts
import readme


def pytest_configure(config: pytest.Config) -> None:
    """Collect what the tests say that they do."""
    config.pluginmanager.register(attempts.Plugin(config, Path(__file__).parent, readme.FAULTS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what matters most come first: there may be no time for all of it."""
    first = Path(__file__).parent / "test_run_faults.py"
    items.sort(key=lambda item: item.path != first)
