# SPDX-License-Identifier: GPL-2.0-only
"""The wheel, installed with what it asks for and nothing else, builds the same bundle."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from page_alloc_bench.targets import kernels

CHECKOUT = Path(__file__).resolve().parents[2]


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
    empty = tmp_path / "empty"
    empty.mkdir()
    kdir = kernels.fetch().kdir
    script = f"""
        mount -t tmpfs -o size=4k tmpfs '{CHECKOUT}' || exit 77
        test ! -e '{CHECKOUT}/kmod' || exit 78
        exec '{installed}/bin/page-alloc-bench' build -q --kdir '{kdir}'
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=empty,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in empty.iterdir()] == ["bench.run"]
    assert (empty / "bench.run").read_bytes() == bundle.read_bytes()
