# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of this directory share."""

from __future__ import annotations

import pytest

from page_alloc_bench.packager.interpreter import Interpreter


@pytest.fixture(scope="module")
def python(own_python: Interpreter) -> Interpreter:
    return own_python
