# SPDX-License-Identifier: GPL-2.0-only
"""What the tests on real kernels share."""

from __future__ import annotations

from module_fixtures import machine, modules_soon, traced

__all__ = ["machine", "modules_soon", "traced"]
