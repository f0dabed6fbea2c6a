# SPDX-License-Identifier: GPL-2.0-only
"""A kernel of the user's own: what `vm` does around a boot of it."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import page_alloc_bench
from own_trees import RELEASE, Tree, image
from page_alloc_bench import cli
from page_alloc_bench.targets import by_reach, exact
from page_alloc_bench.targets.appliance import Finished
from page_alloc_bench.targets.process import TargetError
from page_alloc_bench.targets.serial import Returned


def run_vm(*words: str) -> Result:
    return CliRunner().invoke(cli.main, ["vm", *words])


class Booted:
    """Stands for a guest of any kind; it remembers how it was booted."""

    words = ""
    fails = False
    count = 0

    def __init__(self, *_words: object, cmdline_extra: str = "", **_options: object) -> None:
        type(self).words = cmdline_extra
        Booted.count += 1
        self.console = ""

    def run(self, _script: str, _files: object, **options: object) -> object:
        self.console = "what the kernel said\n"
        if self.fails:
            raise TargetError("the kernel did not boot")
        if "on_line" in options:
            options["on_line"]("progress")  # type: ignore[operator]
        files = {"stdout": b'{"complete": true}\n', "dmesg": b"WARNING: of the kernel\n"}
        if "serial" in type(self).__name__.lower():
            return Returned(3, files, self.console, 1.0)
        return Finished(3, '{"complete": true}\n', "progress\n", {}, "WARNING: of the kernel\n", "")


class BootedSerial(Booted):
    """One that is reached by a serial port."""


@pytest.fixture
def booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A tree that stand-ins boot; the bundle for it is bench.run in this directory."""
    monkeypatch.setattr(by_reach, "Appliance", Booted)
    monkeypatch.setattr(by_reach, "SerialGuest", BootedSerial)
    monkeypatch.setattr(exact, "SerialGuest", BootedSerial)
    monkeypatch.setattr(Booted, "fails", False)
    monkeypatch.setattr(Booted, "count", 0)
    monkeypatch.chdir(tmp_path)
    write_bundle()
    return Tree(tmp_path / "tree")


def write_bundle(of: str = page_alloc_bench.__version__, **build: str) -> None:
    """Write what can be read as a bundle; OF: of which version; BUILD: for which of the kernel."""
    manifest = {
        "format": 1,
        "tool": {"name": "page-alloc-bench", "version": of},
        "modules": [{"release": RELEASE, "machine": "x86_64", "build": build}],
    }
    with zipfile.ZipFile("bench.run", "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))


@pytest.mark.parametrize("reach", ["disk", "serial"])
def test_result_status_progress_and_console_come_back(
    booted: Tree, reach: str, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--kdir", str(booted.top), "--reach", reach, "--mem", "2G", "--cmdline", "foo=1"]
    done = run_vm(*words, "-o", "result.json", "--console", "log", "bench.run", "--", "--quiet")
    said = done.stderr + capfd.readouterr().err
    assert (done.exit_code, done.stdout) == (3, "")  # the benchmark's own
    assert Path("result.json").read_text() == '{"complete": true}\n'
    assert Path("log").read_text() == "what the kernel said\n"
    assert "progress" in said
    assert "the guest's kernel complained:\nWARNING: of the kernel" in said
    stand_in = BootedSerial if reach == "serial" else Booted
    assert stand_in.words.split() == ["loglevel=7", "earlyprintk=ttyS0,115200", "foo=1"]


@pytest.mark.parametrize("reach", ["disk", "serial"])
def test_a_boot_that_fails_leaves_its_console_and_no_result(
    booted: Tree, reach: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Booted, "fails", True)
    words = ["--kdir", str(booted.top), "--reach", reach, "--mem", "2G", "-o", "result.json"]
    done = run_vm(*words, "--console", "log", "bench.run")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "the kernel did not boot" in done.stderr
    assert Path("log").read_text() == "what the kernel said\n"
    assert not Path("result.json").exists()


def test_what_keeps_it_from_a_better_way_is_told(
    booted: Tree, capfd: pytest.CaptureFixture[str]
) -> None:
    booted.write("modules.builtin", "kernel/fs/ext4/ext4.ko\n")
    done = run_vm("--kdir", str(booted.top), "--mem", "2G", "-o", "none", "bench.run")
    said = done.stderr + capfd.readouterr().err
    assert "not by ssh: the kernel lacks a disk (virtio-blk, nvme, ahci, piix), a network" in said
    assert "reached by serial" in said


def test_a_bundle_for_another_kernel_is_refused(booted: Tree) -> None:
    booted.write("include/config/kernel.release", "6.13.0-other\n")
    booted.image.write_bytes(image("6.13.0-other"))
    done = run_vm("--kdir", str(booted.top), "--mem", "2G", "bench.run")
    assert done.exit_code == 2
    assert "has no module for 6.13.0-other (x86_64)" in done.stderr
    assert "leave the bundle out, and one is built" in done.stderr


def with_build_id(tree: Tree, build_id: str) -> None:
    """Give a tree a vmlinux that has this build id, and an image that was made from it."""
    argv = ["gcc", "-shared", "-nostdlib", f"-Wl,--build-id=0x{build_id}", "-x", "c", "-"]
    subprocess.run([*argv, "-o", tree.top / "vmlinux"], input=b"", check=True)
    tree.image.write_bytes(image())


def run_built(tree: Tree, *words: str) -> Result:
    given = ["--kdir", str(tree.top), "--reach", "serial", "--mem", "2G", "-o", "none"]
    return run_vm(*given, "bench.run", *words)


OURS, OTHER = "aa" * 20, "bb" * 20


@pytest.mark.parametrize(
    ("build", "why"),
    [
        ({"build_id": OTHER}, f"its build id is {OTHER[:12]}, and this kernel's {OURS[:12]}"),
        ({"version": "#2 SMP"}, "its uname -v is #2 SMP, and this kernel's #1 SMP"),
    ],
)
@pytest.mark.parametrize("of", [page_alloc_bench.__version__, "0.0.1"])
@pytest.mark.parametrize("way", [[], ["--exact"], ["--reach", "serial"]])
def test_a_bundle_for_another_build_is_refused_before_the_boot(
    booted: Tree, build: dict[str, str], why: str, of: str, way: list[str]
) -> None:
    with_build_id(booted, OURS)
    write_bundle(of, **build)
    done = run_vm(*way, "--kdir", str(booted.top), "--mem", "2G", "-o", "none", "bench.run")
    said = " ".join(done.stderr.split())
    assert done.exit_code == 3, said
    assert f"is for another build of {RELEASE}" in said
    assert why in said
    assert "other-build" in said
    assert "leave the bundle out" in said
    assert Booted.count == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--accept", "other-build"],
        ["--accept=swap,other-build"],
        ["--preflight"],  # which says so itself
    ],
)
def test_another_build_can_be_accepted_or_asked_about(booted: Tree, words: list[str]) -> None:
    with_build_id(booted, OURS)
    write_bundle(build_id=OTHER)
    run_built(booted, "--", *words)
    assert Booted.count == 1


@pytest.mark.parametrize("build", [{"build_id": OURS, "version": "#2 SMP"}, {}])
def test_the_same_build_and_one_that_is_not_known_are_booted(
    booted: Tree, build: dict[str, str]
) -> None:
    with_build_id(booted, OURS)
    write_bundle(**build)
    run_built(booted)
    assert Booted.count == 1
