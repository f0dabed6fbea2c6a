# SPDX-License-Identifier: GPL-2.0-only
"""A bundle runs however and wherever it is started, with what it was given, and leaves nothing."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bundle_maker import MACHINE, MODULE_DATA, RELEASE, start
from bundle_runs import SHELLS, one_line, python_only_path, report
from page_alloc_bench.runner.bundle_file.archive import ArchiveError, NoModuleError, open_archive


@pytest.fixture(scope="module")
def bench(plain_bundle: Path) -> Path:
    return plain_bundle


# However it is started.


@pytest.mark.parametrize("shell", [[], *SHELLS, [sys.executable]])
def test_runs_when_started_by(shell: list[str], bench: Path) -> None:
    told = report(start([*shell, "./bench.run", "--iterations", "3"], cwd=bench.parent))
    assert told["argv"] == ["--iterations", "3"]
    assert told["bundle"] == str(bench)


@pytest.mark.parametrize("shell", SHELLS)
def test_runs_by_its_bare_name(shell: list[str], bench: Path) -> None:
    assert report(start([*shell, "bench.run"], cwd=bench.parent))["bundle"] == str(bench)


def test_runs_through_path(bench: Path, tmp_path: Path) -> None:
    path = f"{bench.parent}:{os.environ['PATH']}"
    told = report(start(["bench.run"], cwd=tmp_path, env={"PATH": path}))
    assert told["bundle"] == str(bench)


def test_runs_through_a_symlink(bench: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(bench)
    assert report(start([str(link), "x"], cwd=Path("/")))["argv"] == ["x"]


@pytest.mark.parametrize("name", ["a b", "new\nline", "quo'te\"", "-dash", "$HOME", "*", "ü"])
def test_runs_from_a_directory_called(name: str, bench: Path, tmp_path: Path) -> None:
    place = tmp_path / name
    place.mkdir()
    shutil.copy(bench, place / "bench.run")
    assert report(start(["./bench.run", "x"], cwd=place))["argv"] == ["x"]


@pytest.mark.parametrize("verb", ["--check", "--list", "--info"])
def test_python_alone_answers_verbs(verb: str, bench: Path) -> None:
    finished = start([sys.executable, str(bench), verb])
    assert finished.returncode == 0, finished.stderr


# With what it was given.


@pytest.mark.parametrize("shell", SHELLS)
def test_passes_arguments_untouched(shell: list[str], bench: Path) -> None:
    arguments = ["", " ", "a b", "two\nlines\n", "*", "$HOME", "'", '"', "\\", "--", "-x", "ü"]
    assert report(start([*shell, str(bench), *arguments]))["argv"] == arguments


def test_passes_stdin_exit_code_and_umask(bench: Path) -> None:
    finished = start(["sh", "-c", f"umask 027; exec {bench} seven"], input="from the caller")
    assert finished.returncode == 7
    told = json.loads(finished.stdout)
    assert told["stdin"] == "from the caller"
    assert told["umask"] == 0o027


def test_is_the_process_that_was_started(bench: Path) -> None:
    with subprocess.Popen([bench], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate()
    assert json.loads(output)["pid"] == process.pid


def test_nothing_inherited_steers_it(bench: Path, tmp_path: Path) -> None:
    (tmp_path / "page_alloc_bench").mkdir()
    (tmp_path / "page_alloc_bench/__init__.py").write_text("raise RuntimeError('wrong one')")
    (tmp_path / "json.py").write_text("raise RuntimeError('wrong one')")
    hostile = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": str(tmp_path),
        "PYTHONSTARTUP": "/nonexistent",
        "SHIV_ROOT": str(tmp_path / "elsewhere"),
        "SHIV_INTERPRETER": "1",
        "SHIV_ENTRY_POINT": "os:abort",
        "SHIV_MODULE": "os:abort",
        "SHIV_CONSOLE_SCRIPT": "evil",
        "PAGE_ALLOC_BENCH_SCRATCH": str(tmp_path),
        "PAGE_ALLOC_BENCH_BUNDLE": "/nonexistent",
        "CDPATH": "/usr",
        "IFS": "/",
        "ENV": "/nonexistent",
    }
    told = report(start([str(bench)], cwd=tmp_path, env=hostile))
    assert told["bundle"] == str(bench)
    assert told["scratch"] != str(tmp_path)
    assert told["inherited"] == ["SHIV_ROOT"]
    assert told["flags"] == [1, 1, 1]
    assert tmp_path.exists()
    assert not (tmp_path / "elsewhere").exists()


# What it says about itself.


def test_list_names_every_part(bench: Path) -> None:
    lines = start([str(bench), "--list"]).stdout.splitlines()
    with zipfile.ZipFile(bench) as archive:
        expected = sorted((info.filename, info.file_size) for info in archive.infolist())
    assert sorted((line.split()[1], int(line.split()[0].replace(",", ""))) for line in lines) == (
        expected
    )


def test_info_is_json_for_programs_and_text_for_people(bench: Path) -> None:
    manifest = json.loads(start([str(bench), "--info"]).stdout)
    assert [module["release"] for module in manifest["modules"]] == [RELEASE]
    reader, terminal = pty.openpty()
    subprocess.run([bench, "--info"], stdout=terminal, check=True, timeout=60)
    text = os.read(reader, 65536).decode()
    assert f"Linux {RELEASE} ({MACHINE})" in text
    assert "{" not in text


def test_check_confirms_a_whole_bundle(bench: Path) -> None:
    finished = start([str(bench), "--check"])
    assert (finished.returncode, finished.stdout) == (0, "")
    assert "are unchanged" in one_line(finished.stderr)


def test_extract_lays_out_files_that_run(bench: Path, tmp_path: Path) -> None:
    target = tmp_path / "a new" / "place"
    assert start([str(bench), "--extract", str(target)]).returncode == 0
    assert (target / f"modules/{RELEASE}-{MACHINE}/page_alloc_bench.ko").read_bytes() == MODULE_DATA
    assert sorted(path.name for path in target.iterdir()) == [
        "__main__.py", "kmod", "licenses", "manifest.json", "modules", "run.sh", "site-packages",
    ]  # fmt: skip
    told = report(start([str(target / "run.sh"), "", "a b"], cwd=tmp_path))
    assert told["argv"] == ["", "a b"]
    assert told["bundle"] == str(target)
    assert told["scratch"] is None
    assert told["package"].startswith(str(target / "site-packages"))
    for verb in ("--check", "--list", "--info"):
        finished = start(["sh", "run.sh", verb], cwd=target)
        assert finished.returncode == 0, finished.stderr


def test_check_of_extracted_files_names_the_altered_one(bench: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    start([str(bench), "--extract", str(target)])
    (target / "licenses/psutil.txt").write_text("mine now\n")
    finished = start([str(target / "run.sh"), "--check"])
    assert finished.returncode == 1
    assert "licenses/psutil.txt has changed" in finished.stderr


def test_extract_refuses_a_place_in_use(bench: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    finished = start([str(bench), "--extract", str(tmp_path)])
    assert finished.returncode == 1
    one_line(finished.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_archive_gives_the_module_of_this_kernel_only(bench: Path) -> None:
    archive = open_archive(bench)
    entry = archive.entry(RELEASE, MACHINE)
    assert (archive.module(entry), entry["vermagic"]) == (MODULE_DATA, f"{RELEASE} SMP")
    for release, machine in ((RELEASE + "x", MACHINE), (RELEASE, "aarch64")):
        with pytest.raises(NoModuleError) as caught:
            archive.entry(release, machine)
        message = str(caught.value)
        assert f"{release} ({machine})" in message
        assert f"{RELEASE} ({MACHINE})" in message


def test_archive_refuses_what_is_no_bundle(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("nothing")
    with pytest.raises(ArchiveError):
        open_archive(path)


# The host's Python.


def test_without_python_it_says_so(
    bench: Path, hidden: list[str], tmp_path: Path, scratch: Path
) -> None:
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    tools = {name: shutil.which(name) or "" for name in ("env", "wc", "dd", "sha256sum")}
    path = python_only_path(tmp_path / "bin", python3=str(old), **tools)
    finished = start(
        [*hidden, "/bin/sh", str(bench)],
        env={"PATH": path, "PAGE_ALLOC_BENCH_TMPDIR": str(scratch)},
    )
    assert (finished.returncode, finished.stdout) == (3, "")
    assert "no usable Python" in one_line(finished.stderr)
    assert list(scratch.iterdir()) == []


def test_skips_a_python_that_does_not_serve(bench: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    path = python_only_path(tmp_path / "bin", **{"python3": str(old), "python3.9": sys.executable})
    finished = start(["/bin/sh", str(bench), "x"], env={"PATH": f"{path}:/usr/bin:/bin"})
    assert report(finished)["argv"] == ["x"]


def test_takes_the_python_it_is_told(bench: Path, tmp_path: Path) -> None:
    path = python_only_path(
        tmp_path / "bin",
        **{name: shutil.which(name) or "" for name in ("env", "wc", "dd", "sha256sum")},
    )
    env = {"PATH": path, "PAGE_ALLOC_BENCH_PYTHON": sys.executable}
    assert report(start(["/bin/sh", str(bench), "x"], env=env))["argv"] == ["x"]
