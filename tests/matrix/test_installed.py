# SPDX-License-Identifier: GPL-2.0-only
"""The wheel, installed with what it asks for and nothing else, builds the same bundle."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hidden_checkout import CHECKOUT, builds_the_same


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """An environment with nothing in it but this project's wheel and what that asks for."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*command, str(CHECKOUT)], check=True, timeout=300)
    locked = re.findall(r"^([\w.-]+==\S+) ", (CHECKOUT / "requirements.lock").read_text(), re.M)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join(locked))
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=300)
    pip[0] = str(environment / "bin/python")
    wheel = str(next(tmp_path.glob("*.whl")))
    subprocess.run([*pip, "install", "-c", str(constraints), wheel], check=True, timeout=600)
    return environment


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_an_installed_wheel_needs_no_checkout(
    installed: Path, bundle: Path, tmp_path: Path
) -> None:
    builds_the_same(f"'{installed}/bin/page-alloc-bench'", bundle, tmp_path)
