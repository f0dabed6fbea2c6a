# SPDX-License-Identifier: GPL-2.0-only
"""Commands that messages advise: they work wherever the program was installed from."""

from __future__ import annotations

import os
import shlex
import sys
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from page_alloc_bench import cli, installation

TOP = Path(__file__).resolve().parents[2]


def test_a_checkout_is_installed_from_where_it_stands() -> None:
    words = shlex.split(installation.install_extra("analysis"))
    assert words[:4] == [sys.executable, "-m", "pip", "install"]
    assert words[4:] == ["-e", f"{TOP}[analysis]"]


@pytest.mark.parametrize(
    ("extra", "wanted"),
    [
        ("query", {"duckdb"}),
        ("analysis", {"scipy", "numpy", "matplotlib"}),
        ("analysis,query", {"duckdb", "scipy"}),
    ],
)
def test_an_installed_wheel_asks_for_the_libraries_themselves(
    extra: str, wanted: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "lib/python3/site-packages"
    site.mkdir(parents=True)
    monkeypatch.setattr(installation, "CHECKOUT", site.parent)
    words = shlex.split(installation.install_extra(extra))
    assert words[:4] == [sys.executable, "-m", "pip", "install"]
    names = {word.partition(">=")[0] for word in words[4:]}
    assert wanted <= names
    assert not {"duckdb", "scipy"} - wanted & names
    assert "page-alloc-bench" not in " ".join(words[4:])
    asked = {text for text in metadata.requires("page-alloc-bench") or [] if ";" in text}
    assert set(words[4:]) <= {text.partition(";")[0].strip() for text in asked}


@pytest.mark.parametrize("how", ["installed", "module"])
def test_the_command_for_root_has_the_whole_path(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "venv/bin/page-alloc-bench"
    program.parent.mkdir(parents=True)
    program.touch()
    program.chmod(0o755)
    if how == "installed":
        monkeypatch.setenv("PATH", str(program.parent))
        monkeypatch.setattr(sys, "argv", ["page-alloc-bench", "run", "--", "--cpus", "0 1"])
        assert installation.as_root() == f"sudo {program} run -- --cpus '0 1'"
    else:
        monkeypatch.chdir(TOP)
        monkeypatch.setenv("PYTHONPATH", "bundle")
        monkeypatch.setattr(sys, "argv", [f"{TOP}/bundle/page_alloc_bench/cli/__main__.py", "run"])
        assert installation.as_root() == (
            f"sudo env PYTHONPATH={TOP}/bundle {sys.executable} -m page_alloc_bench.cli run"
        )


def test_run_without_root_says_how_before_it_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["/venv/bin/page-alloc-bench", "run", "--kdir", "/none"])
    refused = CliRunner().invoke(cli.main, ["run", "--kdir", "/none"])
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert "only root can load a kernel module" in refused.stderr
    assert "sudo /venv/bin/page-alloc-bench run --kdir /none" in refused.stderr
    # What needs no root is built, and asked for here.
    allowed = CliRunner().invoke(cli.main, ["run", "--kdir", "/none", "--", "--list"])
    assert "no kernel tree" in allowed.stderr
