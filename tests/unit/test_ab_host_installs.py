# SPDX-License-Identifier: GPL-2.0-only
"""What is installed on a host is what its kernel was built with, whatever the environment says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from page_alloc_bench.targets.host.install import Package
from page_alloc_bench.targets.host.shell import Ssh
from pretended_host import local_ssh

RELEASE = "6.1.0-x"
MAKEFILE = f"""\
modules_install:
	@mkdir -p $(INSTALL_MOD_PATH)/lib/modules/{RELEASE}
	@echo "$(KBUILD_OUTPUT)$(INSTALL_MOD_DIR)" >$(INSTALL_MOD_PATH)/lib/modules/{RELEASE}/of
	@env >$(INSTALL_MOD_PATH)/lib/modules/{RELEASE}/env
"""


def test_modules_are_installed_by_a_make_that_sees_no_more_than_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    for name in ("KBUILD_OUTPUT", "INSTALL_MOD_DIR", "KBUILD_EXTMOD", "V"):
        monkeypatch.setenv(name, "hostile")
    monkeypatch.setenv("MAKEFLAGS", "n")  # make would only say what it would do
    make = (str(shutil.which("make")), "-s", "-C", str(tmp_path))
    made = Package(RELEASE, tmp_path / "bzImage", "", make=make).tree(tmp_path / "stage")
    assert (made / "of").read_text() == "\n"
    assert "hostile" not in (made / "env").read_text()


def test_modules_are_copied_whole_whatever_tar_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, there = tmp_path / "modules", tmp_path / "there"
    (modules / "kernel").mkdir(parents=True)
    (modules / "kernel/x.ko").write_text("module")
    there.mkdir()
    with Ssh("box", f"env -u TAR_OPTIONS {local_ssh(tmp_path)}") as box:
        monkeypatch.setenv("TAR_OPTIONS", "--exclude=*.ko")
        box.unpack(modules, str(there))
    assert (there / "kernel/x.ko").read_text() == "module"
