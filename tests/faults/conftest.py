# SPDX-License-Identifier: GPL-2.0-only
"""The table of all that was done to runs on purpose."""

from __future__ import annotations

import pytest

import attempts
import readme
from attempts import attempt

__all__ = ["attempt"]


def pytest_configure(config: pytest.Config) -> None:
    """Collect what the tests say that they did."""
    config.pluginmanager.register(attempts.Plugin(readme.FAULTS), "attempts")
