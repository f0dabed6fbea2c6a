# SPDX-License-Identifier: GPL-2.0-only
"""`page-alloc-bench vm`: what it refuses before it boots, and where it puts the result."""

from __future__ import annotations

import json
import os
import pty
import re
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import page_alloc_bench
from page_alloc_bench import cli
from page_alloc_bench.targets import kernels, vm
from page_alloc_bench.targets.boot_failure import TooSlowError
from page_alloc_bench.targets.outcome import GuestEndedError
from page_alloc_bench.targets.process import TargetError

RELEASES = {"6.1": "6.1.0-1-cloud-amd64", "6.12": "6.12.1-cloud-amd64"}


def write_bundle(path: Path, kernel: str = "6.1", version: str = page_alloc_bench.__version__,
                 machine: str = "x86_64") -> Path:  # fmt: skip
    """Write what can be read as a bundle for a kernel."""
    manifest = {
        "format": 1,
        "tool": {"name": "page-alloc-bench", "version": version},
        "modules": [{"release": RELEASES[kernel], "machine": machine}],
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
    return path


class Guest:
    """Stands for a guest that was booted; what it is asked to run writes `said` to stdout."""

    booted = 0
    boot_seconds = 1.0
    said = '{"complete": true}\n'

    def __init__(self, kernel: kernels.FetchedKernel, *_rest: Any, **_options: Any) -> None:
        self.kernel = kernel

    def __enter__(self) -> Guest:
        type(self).booted += 1
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def copy_to(self, *_: Any, **_options: Any) -> None:
        pass

    def popen(self, _command: str, *, stdout: int, **_options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["printf", "%s", self.said], stdout=stdout)

    def dmesg(self) -> str:
        return ""

    def console(self) -> str:
        return "the guest's console\n"


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with two kernels in its cache; the working directory is the test's own."""

    def fetch(kernel: kernels.Kernel | str, **_: Any) -> kernels.FetchedKernel:
        row = kernels.lookup(kernel) if isinstance(kernel, str) else kernel
        return kernels.FetchedKernel(row, RELEASES[row.name], Path("v"), Path("m"), Path("k"))

    monkeypatch.setattr(kernels, "fetch", fetch)
    monkeypatch.setattr(kernels, "cached", lambda row: row.name in RELEASES)
    monkeypatch.setattr(vm, "Guest", Guest)
    monkeypatch.setattr(Guest, "booted", 0)
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bench.run")


def run_vm(*words: str) -> Result:
    return CliRunner().invoke(cli.main, ["vm", *words])


BENCH = ("bench.run", "--")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["bench.run", "--iterations", "1"], r"follow a `--`: main vm \.{3} -- --iterations \.{3}"),
        (["bench.run", "-iterations=3"], r"No such option: -iterations=3\. .*follow a `--`"),
        (["bench.run", "3"], "unrecognized arguments: 3"),
        (["missing.run"], r"missing\.run.* does not exist"),
        (["empty"], "empty is not a bundle.*make one with: page-alloc-bench build"),
        (["text"], "text is not a bundle"),
        (["other.zip"], r"manifest.*other\.zip is damaged"),
        (["cut.run"], r"cut\.run is not a bundle"),
        ([*BENCH, "--iterations", "x"], "--iterations: 'x' is not a whole number"),
        ([*BENCH, "--no-such"], "unrecognized arguments: --no-such"),
        ([*BENCH, "--spread", "2000"], "must not exceed --held"),
        ([*BENCH, "--detach"], "--detach leaves a run behind, and the guest is removed"),
        ([*BENCH, "--attach"], "--attach is about a run that goes on"),
        ([*BENCH, "--status"], "--status is about a run that goes on"),
        ([*BENCH, "--stop"], "--stop is about a run that goes on"),
        ([*BENCH, "--list"], "--list looks at the bundle"),
        ([*BENCH, "--check"], "--check looks at the bundle"),
        ([*BENCH, "--info"], "--info looks at the bundle"),
        ([*BENCH, "--extract", "there"], "--extract looks at the bundle"),
        ([*BENCH, "--build-on-target"], "--build-on-target needs .*build --kernel"),
        ([*BENCH, "--output-path=x"], "use page-alloc-bench vm -o FILE"),
        ([*BENCH, "-output-path", "x"], "use page-alloc-bench vm -o FILE"),
        ([*BENCH, "--alloc-orders", "0,11"], "order 11 is too large"),
        ([*BENCH, "--cpus", "2-5"], "no CPU 4-5: it has 0-3; vm --cpus"),
        (["--cpus", "2", *BENCH, "--cpus", "2"], "no CPU 2: it has 0-1"),
        ([*BENCH, "--held", "20000"], "in the guest .* up to 5251 MiB at order 4"),
        (["--mem", "512M", *BENCH, "--alloc-orders", "9"], "half of the 512 MiB avail.*vm --mem"),
        ([*BENCH, "--sample-size", "4194304"], "latencies take up to .*: lower .*--sample-size"),
        (["--kernel", "6.12", "bench.run"], r"no module for 6\.12\.1.*own with: --kernel 6\.1;"),
        (["new.run"], r"no module for 6\.1\.0-1.*own with: --kernel 6\.12; or build one with"),
        (["arm.run"], r"it is for 6\.1\.0-1-cloud-amd64 \(aarch64\)"),
        (["--kernel", "6.1-arm64", "bench.run"], r"6\.1-arm64 cannot boot .* for arm64: there are"),
        (["--kernel", "6.12-nonuma", "bench.run"], "its configuration has no network"),
        (["--kernel", "4.4", "bench.run"], "4.4"),
        (["--mem", "foo", "bench.run"], "'foo' is not an amount of memory"),
        (["--mem", "100M", "bench.run"], "100 MiB is too little"),
        (["--mem", "500T", "bench.run"], "MiB are available here"),
        (["--mem", "1G", "--nodes", "64", "bench.run"], "64 MiB per node"),
        (["--exact", "--boot-timeout", "9"], "--exact has no --boot-timeout: leave it out"),
        (["--exact", "--root", "bookworm"], "--exact has no --root: leave it out"),
        (["--cpus", "256", "bench.run"], "at most 255 CPUs"),
        (["--cpus", "0", "bench.run"], "x>=1"),
        (["-o", "no/result.json", "bench.run"], "cannot write no/result.json: No such file"),
        (["-o", ".", "bench.run"], "is a directory"),
        (["--console", "no/console", "bench.run"], "cannot write no/console: No such file"),
        (["-o", "loop", "bench.run"], "cannot write loop"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_the_boot(
    words: Sequence[str], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("empty").touch()
    Path("text").write_text("#!/bin/sh\necho hello\n" * 1000)
    Path("loop").symlink_to("loop")
    with zipfile.ZipFile("other.zip", "w") as archive:
        archive.writestr("manifest.json", "{}")
    Path("cut.run").write_bytes(Path("bench.run").read_bytes()[:-30])
    write_bundle(Path("new.run"), "6.12")
    write_bundle(Path("arm.run"), machine="aarch64")
    before = sorted(os.listdir())
    result = run_vm(*words)
    stdout, stderr = capfd.readouterr()  # of the benchmark's own parser
    assert re.search(why, result.stderr + stderr), result.stderr + stderr
    assert (result.exit_code, result.stdout + stdout) == (2, "")
    assert Guest.booted == 0
    assert sorted(os.listdir()) == before


def test_what_has_no_antagonist_needs_no_room_for_one() -> None:
    assert run_vm("-o", "none", *BENCH, "--workload", "pairs").exit_code == 0
    assert Guest.booted == 1


@pytest.mark.parametrize("word", ["--help", "-h", "--version"])
def test_help_of_the_benchmark_needs_no_guest(word: str, capfd: pytest.CaptureFixture[str]) -> None:
    result = run_vm(*BENCH, word)
    assert (result.exit_code, Guest.booted) == (0, 0)
    stdout = capfd.readouterr().out
    assert "bench.run [OPTION]" in stdout or "page-alloc-bench 0" in stdout


def test_a_bundle_of_another_version_knows_its_options_itself() -> None:
    write_bundle(Path("old.run"), version="0.0.1")
    assert run_vm("-o", "none", "old.run", "--", "--of-that-time", "3").exit_code == 0
    assert Guest.booted == 1
    refused = run_vm("old.run", "--", "-detach")
    assert (refused.exit_code, Guest.booted) == (2, 1)
    assert "--detach leaves a run behind" in refused.stderr


@pytest.mark.parametrize("words", [(), ("-o", "-")])
def test_the_result_goes_to_stdout_where_that_is_no_terminal(words: Sequence[str]) -> None:
    before = sorted(os.listdir())
    result = run_in_pipe(*words, "bench.run", "--", "--iterations", "1")
    assert (result.returncode, result.stdout) == (0, Guest.said)
    assert sorted(os.listdir()) == before


def run_in_pipe(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process whose stdout is a pipe."""
    read, write = os.pipe()
    status = in_child(lambda: os.dup2(write, 1), words)
    os.close(write)
    with open(read) as pipe:
        return subprocess.CompletedProcess(words, status, pipe.read())


def in_child(prepare: Callable[[], object], words: Sequence[str]) -> int:
    """Run the command in a child process with other descriptors; return its exit status."""
    child = os.fork()
    if child == 0:
        try:
            prepare()
            sys.stdout, sys.stderr = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w")
            cli.main(["vm", *words])
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def on_terminal(*words: str) -> tuple[int, str]:
    """Run the command on a terminal; return its status and what the terminal shows."""
    leader, follower = pty.openpty()
    shown = bytearray()

    def read() -> None:
        try:
            while data := os.read(leader, 4096):
                shown.extend(data)
        except OSError:
            pass  # the other end is closed

    reader = threading.Thread(target=read)
    reader.start()
    status = in_child(lambda: (os.dup2(follower, 1), os.dup2(follower, 2)), words)
    os.close(follower)
    reader.join()
    os.close(leader)
    return status, shown.decode()


def test_on_a_terminal_the_result_is_kept_and_not_shown() -> None:
    status, shown = on_terminal("bench.run")
    (kept,) = Path().glob("page-alloc-bench-*.json")
    assert re.fullmatch(r"page-alloc-bench-6\.1\.0-1-cloud-amd64-\d{8}T\d{6}\.json", kept.name)
    assert kept.read_text() == Guest.said
    assert status == 0
    assert "complete" not in shown
    # Said before the boot.
    assert shown.index(f"the result will be in {kept}") < shown.index("booting")


def test_a_result_that_nobody_wants_is_kept_nowhere() -> None:
    before = sorted(os.listdir())
    status, shown = on_terminal("-o", "none", "bench.run")
    assert (status, "complete" in shown, ".json" in shown) == (0, False, False)
    assert sorted(os.listdir()) == before
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("option", ["--preflight", "--ktap"])
def test_what_is_no_result_is_shown_on_a_terminal(option: str) -> None:
    before = sorted(os.listdir())
    _, shown = on_terminal(*BENCH, option)
    assert "complete" in shown
    assert sorted(os.listdir()) == before


def too_slow(*, chained: bool) -> TargetError:
    error = TooSlowError("the kernel did not get there within 9 s")
    if not chained:
        return error
    made = GuestEndedError(str(error), "boot-timeout", "")
    made.__cause__ = error
    return made


@pytest.mark.parametrize("chained", [False, True])
def test_a_boot_that_took_too_long_can_be_given_longer(
    monkeypatch: pytest.MonkeyPatch, *, chained: bool
) -> None:
    def enter(_guest: Guest) -> Guest:
        raise too_slow(chained=chained)

    monkeypatch.setattr(Guest, "__enter__", enter)
    done = run_vm("-o", "none", *BENCH)
    assert done.exit_code == 1, done.output
    assert "within 9 s" in done.stderr
    assert "--boot-timeout SECONDS" in done.stderr


def test_a_run_that_wrote_nothing_leaves_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guest, "said", "")
    before = sorted(os.listdir())
    assert on_terminal("bench.run")[0] == 0
    assert run_vm("-o", "result.json", "bench.run").exit_code == 0
    assert sorted(os.listdir()) == before


def test_a_file_gets_the_mode_that_open_gives_and_the_console_its_own() -> None:
    Path("other").touch()
    assert run_vm("-o", "result.json", "--console", "log", "bench.run").exit_code == 0
    assert Path("result.json").read_text() == Guest.said
    assert stat.S_IMODE(os.stat("result.json").st_mode) == stat.S_IMODE(os.stat("other").st_mode)
    assert Path("log").read_text() == "the guest's console\n"


def test_devices_and_pipes_are_written_to_and_links_are_followed() -> None:
    assert run_vm("-o", os.devnull, "bench.run").exit_code == 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    os.mkfifo("pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()))
    reader.start()
    assert run_vm("-o", "pipe", "bench.run").exit_code == 0
    reader.join()
    assert read == [Guest.said]
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    Path("link").symlink_to("there.json")
    assert run_vm("-o", "link", "bench.run").exit_code == 0
    assert Path("link").is_symlink()
    assert Path("there.json").read_text() == Guest.said


@pytest.mark.parametrize("name", ["-", "none"])
def test_a_file_may_be_called_what_is_no_file(name: str) -> None:
    done = run_vm("-o", f"./{name}", "bench.run")
    assert (done.exit_code, done.stdout) == (0, "")
    assert Path(name).read_text() == Guest.said
