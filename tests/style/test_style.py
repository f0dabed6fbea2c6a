# SPDX-License-Identifier: GPL-2.0-only
"""The code keeps to the rules of its language's own checkers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from page_alloc_bench.targets import root

TOP = Path(__file__).resolve().parents[2]
KERNEL_CODE = sorted([*TOP.glob("kmod/*.[ch]"), *TOP.glob("tests/kmod/*/*.[ch]")])
SHELL_CODE = sorted([*TOP.glob("scripts/*"), TOP / ".ci/run"])


def clean(*command: object) -> None:
    done = subprocess.run(
        [str(word) for word in command], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_python_is_formatted() -> None:
    clean(sys.executable, "-m", "ruff", "format", "--check", ".")


def test_python_is_linted() -> None:
    clean(sys.executable, "-m", "ruff", "check", "--no-cache", ".")


def test_python_is_typed() -> None:
    clean(sys.executable, "-m", "mypy")


@pytest.mark.parametrize("path", SHELL_CODE, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(path: Path) -> None:
    clean("shellcheck", path)


@pytest.mark.parametrize(
    ("template", "values"),
    [
        ("guest-init.sh.j2", {"hostname": "guest", "marker": "ready"}),
        ("guest-initramfs.sh.j2",
         {"modules": ["a"], "address": "10.0.2.15/24", "gateway": "10.0.2.2", "init": "/init"}),
        ("appliance-init.sh.j2",
         {"modules": ["a"], "script": "/script", "collect": "/collect", "output": "/output"}),
    ],
)  # fmt: skip
def test_guest_scripts_pass_shellcheck(
    template: str, values: dict[str, object], tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text(root.render(template, **values))
    clean("shellcheck", "--shell=sh", script)


def test_every_file_states_its_licence() -> None:
    clean(sys.executable, "-m", "reuse", "lint", "--quiet")


@pytest.mark.parametrize("path", KERNEL_CODE, ids=lambda path: path.name)
def test_kernel_code_passes_checkpatch(checkpatch: Path, path: Path) -> None:
    clean("perl", checkpatch, "--no-tree", "--strict", "--quiet", "--terse",
          "--max-line-length=100", "--file", path)  # fmt: skip


@pytest.mark.parametrize("module", ["kmod", "tests/kmod/floor"])
def test_kernel_code_builds_without_warnings_and_passes_sparse(
    kdir: Path, tmp_path: Path, module: str
) -> None:
    for directory in {"kmod", module}:
        shutil.copytree(TOP / directory, tmp_path / directory)
    done = subprocess.run(
        ["make", "-C", tmp_path / module, f"KDIR={kdir}", "W=1", "C=2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith(str(tmp_path))]
    assert not ours, "\n".join(ours)
    assert "CHECK" in done.stdout
