# SPDX-License-Identifier: GPL-2.0-only
"""What tests of several files here share."""

from __future__ import annotations

import pytest

from module_fixtures import machine, modules_soon, traced
from page_alloc_bench.packager.interpreter import Interpreter
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


@pytest.fixture(scope="module")
def python(own_python: Interpreter) -> Interpreter:
    return own_python
