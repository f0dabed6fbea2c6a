# SPDX-License-Identifier: GPL-2.0-only
"""What tests of several files here share."""

from __future__ import annotations

from report_fixtures import base, new, single, two_sided

__all__ = ["base", "new", "single", "two_sided"]
