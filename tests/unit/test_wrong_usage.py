# SPDX-License-Identifier: GPL-2.0-only
"""Wrong options are told before anything is fetched, built, booted or connected to."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner

import page_alloc_bench
from page_alloc_bench.campaign.kernel_build import Builder
from page_alloc_bench.cli import main
from page_alloc_bench.fleet import engine
from page_alloc_bench.packager import build as packager
from page_alloc_bench.targets import bootable, exact, kernel_bundle, kernels, timed
from page_alloc_bench.targets.host.shell import Ssh

KERNELS = ["--base", "6.1", "--new", "6.12"]
REVISIONS = ["v1", "v2", "--tree", "."]
HOST = ["--host", "box", "--yes"]
FLEET = ["--dir", "fleet", "--bundles", "bench.run"]
COMMANDS: dict[str, tuple[int, list[str]]] = {
    "run": (2, ["run", "--kdir", "/proc/absent"]),
    "vm": (2, ["vm"]),
    "vm --reach": (2, ["vm", "--reach", "serial"]),
    "vm --exact": (2, ["vm", "--exact"]),
    "vm --exact BUNDLE": (2, ["vm", "--exact", "bench.run"]),
    "ab": (3, ["ab", *KERNELS]),
    "ab --aa": (3, ["ab", "--base", "6.1", "--aa"]),
    "ab of revisions": (3, ["ab", *REVISIONS]),
    "ab --exact": (3, ["ab", "--exact", *KERNELS]),
    "ab --exact of revisions": (3, ["ab", "--exact", *REVISIONS]),
    "ab --host": (3, ["ab", *HOST, *KERNELS]),
    "ab --host of bundles": (3, ["ab", *HOST, *KERNELS, "--bundles", "bench.run"]),
    "ab --host of revisions": (3, ["ab", *HOST, *REVISIONS]),
    "bisect": (3, ["bisect", *REVISIONS]),
    "bisect --exact": (3, ["bisect", "--exact", *REVISIONS]),
    "fleet run": (2, ["fleet", "run", "a,", *FLEET, "--store", "store"]),
    "fleet ab": (3, ["fleet", "ab", "a,", *FLEET, *KERNELS, "--yes"]),
}
BUILD = ["build", "--kernel", "6.12"]
ALL = list(COMMANDS)
IN_GUESTS = [name for name in ALL if not name.startswith(("run", "ab --host", "fleet"))]
COUNTED = [name for name in ALL if "--exact" in name]
MEASURING = [name for name in ALL if not name.startswith(("run", "vm"))]
BY_TIME = [name for name in MEASURING if name not in COUNTED and name != "fleet run"]


@pytest.fixture(autouse=True)
def nothing_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would fetch, build, boot or connect fails the test."""

    def reached(*words: Any, **_options: Any) -> NoReturn:
        pytest.fail(f"this came too late for: {words}")

    for owner, name in (
        (bootable, "find"), (bootable, "of_list"), (kernels, "fetch"), (kernel_bundle, "build"),
        (packager, "build"), (Builder, "build"), (Builder, "config"), (Builder, "__init__"),
        (exact, "measure"), (timed, "measure"), (Ssh, "__enter__"), (engine, "Engine"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, reached)
    monkeypatch.chdir(tmp_path)
    write_bundle(page_alloc_bench.__version__)


def write_bundle(version: str) -> None:
    """Write what can be read as a bundle of some version."""
    manifest = {
        "format": 1,
        "tool": {"name": "page-alloc-bench", "version": version},
        "modules": [{"release": "6.1", "machine": "x86_64"}],
    }
    with zipfile.ZipFile("bench.run", "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))


def refused(name: str, *words: str, capfd: pytest.CaptureFixture[str]) -> str:
    """Return what is said of words with which a command is refused."""
    code, command = COMMANDS[name]
    before = sorted(os.listdir())
    done = CliRunner().invoke(main, [*command, *words])
    stdout, stderr = capfd.readouterr()
    assert (done.exit_code, done.stdout + stdout) == (code, ""), done.output
    assert sorted(os.listdir()) == before
    return " ".join((done.stderr + stderr).split())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--alloc-orders", "x"], "'x' is not a list of orders"),
        (["--quiet", "--verbose"], "--quiet and --verbose exclude each other"),
    ],
)
def test_options_of_the_benchmark_are_looked_at_first(
    name: str, words: list[str], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert why in refused(name, "--", *words, capfd=capfd)


@pytest.mark.parametrize("name", [name for name in ALL if name != "run"])
@pytest.mark.parametrize("word", ["--detach", "--list", "--status", "--output-path=x"])
def test_what_is_no_run_or_is_the_commands_own_is_looked_at_first(
    name: str, word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert word.partition("=")[0] in refused(name, "--", word, capfd=capfd)


@pytest.mark.parametrize("name", MEASURING)
@pytest.mark.parametrize("word", ["--preflight", "--list-workloads"])
def test_what_measures_nothing_is_nothing_to_compare(
    name: str, word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert word in refused(name, "--", word, capfd=capfd)


@pytest.mark.parametrize("name", IN_GUESTS)
@pytest.mark.parametrize(
    ("words", "why"),
    [(["--cpus", "99"], "has no CPU 99: it has 0"), (["--alloc-orders", "11"], "order 11 is too")],
)
def test_what_the_guest_does_not_have_is_told_first(
    name: str, words: list[str], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert why in refused(name, "--", *words, capfd=capfd)


@pytest.mark.parametrize("name", [name for name in IN_GUESTS if name not in COUNTED])
def test_an_antagonist_too_large_for_the_guest_is_told_first(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    told = refused(name, "--", "--held=900000", "--spread=100000", capfd=capfd)
    assert "in the guest the antagonist would hold up to" in told
    assert f"give it more memory with {'vm ' * name.startswith('vm')}--mem, before the --" in told


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--iterations", "3"], "--iterations is for --workload"),
        (["--workload", "pairs"], "--exact counts --workload exact"),
    ],
)
def test_what_is_not_counted_is_told_first(
    name: str, words: list[str], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert why in refused(name, "--", *words, capfd=capfd)


@pytest.mark.parametrize("name", IN_GUESTS)
def test_memory_of_the_guest_is_looked_at_first(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "'foo' is not an amount of memory" in refused(name, "--mem", "foo", capfd=capfd)


@pytest.mark.parametrize("name", BY_TIME)
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--threshold", "many"], "threshold"),
        (["--threshold", "speed=3%"], "threshold"),
        (["--confidence", "12%"], "is not from 50% to below 100%"),
    ],
)
def test_what_decides_is_looked_at_first(
    name: str, words: list[str], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert why in refused(name, *words, capfd=capfd)


@pytest.mark.parametrize(
    ("name", "words", "why"),
    [
        ("vm", ["-o", "no/result.json"], "cannot write no/result.json"),
        ("vm --exact", ["--console", "no/console"], "cannot write no/console"),
        ("vm --exact", ["--", "--no-swap"], "--no-swap is for --workload"),
        ("ab --host", ["--new", "6.6"], "by time, one new kernel can be compared"),
        ("ab --host", ["--tree", "."], "--tree is of revisions"),
        ("ab --host", ["--bundles", "."], "is not a bundle"),
        ("ab --host", ["--boot", "hook"], "--boot hook and --boot-hook COMMAND need each other"),
        ("ab --host", ["--boot", "hook", "--boot-hook", "'"], "--boot-hook: ': No closing"),
        ("ab --host", ["--accept", "all"], "--accept: 'all' is not one of users, load, run"),
        ("ab --host", ["--", "--ktap"], "--ktap"),
        ("fleet ab", ["--boot", "hook"], "--boot hook and --boot-hook COMMAND need each other"),
    ],
)
def test_what_does_not_go_together_is_told_first(
    name: str, words: list[str], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("text.run").write_text("text")
    assert why in refused(name, *words, capfd=capfd)


@pytest.mark.parametrize("name", MEASURING)
@pytest.mark.parametrize("place", ["file", "file/in/it", "/proc/absent", "/proc/self/in/it"])
def test_a_directory_that_cannot_be_written_is_told_first(
    name: str, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    assert place in refused(name, "--dir", place, capfd=capfd)


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["--output", "no/bench.run"], "no/bench.run"),
        (["--output", "/proc/absent"], "/proc/absent"),
        (["--sbom", "no/sbom.json"], "no/sbom.json"),
        (["--compile-commands", "."], "."),
    ],
)
def test_build_looks_at_its_files_before_it_fetches(
    words: list[str], place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    done = CliRunner().invoke(main, [*BUILD, *words])
    assert (done.exit_code, capfd.readouterr().out) == (2, "")
    assert f"cannot write {place}: " in done.stderr
    assert os.listdir() == ["bench.run"]


@pytest.mark.parametrize("name", ["run", "vm", "vm --exact"])
@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_of_the_benchmark_needs_no_build(
    name: str, word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    done = CliRunner().invoke(main, [*COMMANDS[name][1], "--", word])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "page-alloc-bench" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["ab --host of bundles", "fleet run", "fleet ab"])
def test_bundles_of_another_version_know_their_options_themselves(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_bundle("0.0.1")
    assert "--detach is" in refused(name, "--", "--of-that-time", "--detach", capfd=capfd)
    with pytest.raises(pytest.fail.Exception, match="came too late"):
        refused(name, "--", "--of-that-time", capfd=capfd)
