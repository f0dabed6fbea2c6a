# SPDX-License-Identifier: GPL-2.0-only
"""What tests of several files here share."""

from __future__ import annotations

from module_fixtures import machine, modules_soon, traced
from report_fixtures import base, browser, new, single, two_sided

__all__ = [
    "base",
    "browser",
    "machine",
    "modules_soon",
    "new",
    "single",
    "traced",
    "two_sided",
]
