# SPDX-License-Identifier: GPL-2.0-only
"""A bundle runs however and wherever it is started, with what it was given, and leaves nothing."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from bundle_maker import (
    MACHINE,
    MODULE_DATA,
    RAISING_RUNNER,
    RELEASE,
    SLEEPING_RUNNER,
    make_bundle,
    start,
)
from bundle_runs import SHELLS, one_line, report
from page_alloc_bench.runner.bundle_file.archive import (
    Archive,
    ArchiveError,
    NoModuleError,
    open_archive,
)


@pytest.fixture(scope="module")
def bench(plain_bundle: Path) -> Path:
    return plain_bundle


def python_only_path(directory: Path, **tools: str) -> str:
    """Return a PATH of one directory with nothing but ``tools`` (name: target)."""
    directory.mkdir()
    for name, target in tools.items():
        (directory / name).symlink_to(target)
    return str(directory)


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


# A damaged file.


def flipped(bench: Path, copy: Path, position: int) -> Path:
    data = bytearray(bench.read_bytes())
    data[position] ^= 0x01
    copy.write_bytes(data)
    copy.chmod(0o755)
    return copy


def test_a_flipped_byte_is_found_wherever_it_is(bench: Path, tmp_path: Path) -> None:
    size = bench.stat().st_size
    stub = Archive(bench).manifest()["stub"]["size"]
    with zipfile.ZipFile(bench) as archive:
        members = [info.header_offset + 30 + len(info.filename) for info in archive.infolist()]
    missed = []
    for position in (*range(0, stub, 293), *members, *range(size - 50, size)):
        copy = flipped(bench, tmp_path / "bench.run", position)
        try:
            if not Archive(copy).problems():
                missed.append(position)
        except ArchiveError:
            continue
    assert missed == []


@pytest.mark.parametrize("shell", SHELLS)
def test_check_fails_wherever_a_byte_is_flipped(
    shell: list[str], bench: Path, tmp_path: Path, scratch: Path
) -> None:
    """Each shell has a share of the text: it is the same program for all."""
    size = bench.stat().st_size
    stub = Archive(bench).manifest()["stub"]["size"]
    text_end = len(bench.read_bytes()[:stub].rstrip(b"\n"))
    number, every = [each.values[0] for each in SHELLS].index(shell), 499 * len(SHELLS)
    positions = [*range(499 * number, text_end, every), (text_end + 1, stub - 1)[number % 2]]
    # From here on it is Python that looks, whichever shell has started it.
    positions += [(stub, stub + 1, (size + stub) // 2, size - 1)[number]]
    for position in positions:
        copy = flipped(bench, tmp_path / "bench.run", position)
        finished = start(
            [*shell, str(copy), "--check"], env={"PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}
        )
        assert finished.returncode != 0, position
        assert finished.stdout == "", position
        assert list(scratch.iterdir()) == []


def test_altered_zip_is_refused_in_one_line(bench: Path, tmp_path: Path) -> None:
    copy = flipped(bench, tmp_path / "bench.run", bench.stat().st_size - 5000)
    finished = start([str(copy)])
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "damaged" in one_line(finished.stderr)


def test_altered_stub_is_refused_in_one_line(bench: Path, tmp_path: Path) -> None:
    position = bench.read_bytes().index(b"/usr/local/bin/python3")
    finished = start([str(flipped(bench, tmp_path / "bench.run", position))])
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "damaged" in one_line(finished.stderr)


@pytest.mark.parametrize("shell", SHELLS)
def test_truncated_file_is_refused(shell: list[str], bench: Path, tmp_path: Path) -> None:
    data = bench.read_bytes()
    copy = tmp_path / "bench.run"
    checked = data.index(b"\npayload_sha256")
    for length in (checked, checked + 100, 4096, 4097, 10000, len(data) // 2, len(data) - 1):
        copy.write_bytes(data[:length])
        finished = start([*shell, str(copy)])
        assert (finished.returncode, finished.stdout) == (1, ""), length
        assert f"{length} bytes instead of {len(data)}" in one_line(finished.stderr)
    # From where the shell has read the two lines that speak for a file cut off behind them.
    for length in range(data.index(b"# SPDX"), checked, 100):
        copy.write_bytes(data[:length])
        finished = start([*shell, str(copy)])
        assert (finished.returncode, finished.stdout) == (1, ""), length
        assert "is damaged" in one_line(finished.stderr)


def test_trailing_rubbish_is_refused(bench: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bench.run"
    copy.write_bytes(bench.read_bytes() + b"x")
    finished = start(["sh", str(copy)])
    assert finished.returncode == 1
    assert "damaged" in one_line(finished.stderr)


def test_piped_into_a_shell_says_what_to_do(bench: Path, tmp_path: Path) -> None:
    with bench.open("rb") as file:
        finished = start(["sh"], cwd=tmp_path, stdin=file)
    assert finished.returncode == 1
    assert "save the bundle as a file" in one_line(finished.stderr)


def test_without_sha256sum_it_still_runs(bench: Path, tmp_path: Path) -> None:
    path = python_only_path(
        tmp_path / "bin",
        wc=shutil.which("wc") or "",
        env=shutil.which("env") or "",
        python3=sys.executable,
    )
    assert report(start(["/bin/sh", str(bench), "x"], env={"PATH": path}))["argv"] == ["x"]


# The host's Python.


def test_without_python_it_says_so(bench: Path, tmp_path: Path, scratch: Path) -> None:
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    stub = bench.read_bytes().replace(b"/usr/bin/python3", b"/nix/bin/python3")
    stub = stub.replace(b"/usr/local/bin/python3", b"/nix/local/bin/python3")
    copy = tmp_path / "bench.run"
    copy.write_bytes(stub)
    tools = {name: shutil.which(name) or "" for name in ("env", "wc", "dd", "sha256sum")}
    path = python_only_path(tmp_path / "bin", python3=str(old), **tools)
    finished = start(
        ["/bin/sh", str(copy)], env={"PATH": path, "PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}
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


# The scratch directory.


def test_scratch_is_private_and_gone_afterwards(bench: Path, scratch: Path) -> None:
    told = report(start([str(bench)], env={"PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}))
    assert Path(told["scratch"]).parent == scratch
    assert told["scratch_mode"] == 0o700
    assert told["package"].startswith(told["scratch"])
    assert list(scratch.iterdir()) == []


def test_nothing_appears_in_home(bench: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for command in (["sh", str(bench)], [sys.executable, str(bench)]):
        report(start(command, env={"HOME": str(home)}))
        assert not home.exists()


def test_scratch_is_gone_after_a_crash(tmp_path: Path, scratch: Path) -> None:
    bench = make_bundle(tmp_path / "bench.run", RAISING_RUNNER)
    finished = start([str(bench)], env={"PAGE_ALLOC_BENCH_TMPDIR": str(scratch)})
    assert finished.returncode == 1
    assert "on purpose" in finished.stderr
    assert list(scratch.iterdir()) == []


def test_keep_keeps_it(bench: Path, scratch: Path) -> None:
    told = report(start([str(bench), "--keep"], env={"PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}))
    assert [str(path) for path in scratch.iterdir()] == [told["scratch"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_and_leaves_nothing(
    number: signal.Signals, tmp_path: Path, scratch: Path
) -> None:
    bench = make_bundle(tmp_path / "bench.run", SLEEPING_RUNNER)
    environment = {**os.environ, "PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}
    with subprocess.Popen([bench], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline().strip()
        assert len(list(scratch.iterdir())) == 1
        process.send_signal(number)
        assert process.wait(20) == -number
    assert list(scratch.iterdir()) == []


def test_a_signal_at_any_moment_leaves_nothing(tmp_path: Path, scratch: Path) -> None:
    bench = make_bundle(tmp_path / "bench.run", SLEEPING_RUNNER)
    environment = {**os.environ, "PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}
    for step in range(40):
        with subprocess.Popen(
            [bench], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(0.004 * step)
            process.terminate()
            assert process.wait(20) == -signal.SIGTERM
        assert list(scratch.iterdir()) == [], step


def test_nohup_stays_in_force(tmp_path: Path, scratch: Path) -> None:
    bench = make_bundle(tmp_path / "bench.run", SLEEPING_RUNNER)
    command = f"trap '' HUP; exec {bench}"
    environment = {**os.environ, "PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}
    with subprocess.Popen(
        ["sh", "-c", command], env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM


def test_places_that_do_not_serve_are_skipped(bench: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    told = report(start([str(bench)], env={"PAGE_ALLOC_BENCH_TMPDIR": missing}))
    assert told["scratch"]
    assert not told["scratch"].startswith(missing)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_noexec_places_are_skipped_and_left_clean(bench: Path, tmp_path: Path) -> None:
    noexec = tmp_path / "noexec"
    noexec.mkdir()
    script = f"""
        mount -t tmpfs -o noexec tmpfs '{noexec}' || exit 77
        PAGE_ALLOC_BENCH_TMPDIR='{noexec}' '{bench}' || exit 1
        ls -A '{noexec}' >&2
    """
    finished = start(["unshare", "--mount", "sh", "-c", script])
    if finished.returncode == 77 or "unshare failed" in finished.stderr:
        pytest.skip("no mounting here")
    assert not report(finished)["scratch"].startswith(str(noexec))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_no_place_at_all_is_said_and_verbs_still_work(bench: Path, tmp_path: Path) -> None:
    script = f"""
        mount -t tmpfs tmpfs /mnt && cp '{bench}' /mnt/ || exit 77
        for place in /dev/shm /var/tmp /run /tmp; do
            mount -t tmpfs -o noexec tmpfs "$place" || exit 77
        done
        cd /dev/shm
        sh /mnt/bench.run --check || exit 78
        sh /mnt/bench.run
        echo "status $?"
        ls -A /dev/shm /tmp /run /var/tmp | grep page-alloc
    """
    isolated = ["unshare", "--mount", "sh", "-c", script]
    finished = start(isolated, env={"TMPDIR": "/nonexistent", "PAGE_ALLOC_BENCH_TMPDIR": ""})
    if finished.returncode == 77 or "unshare failed" in finished.stderr:
        pytest.skip("no mounting here")
    assert finished.stdout.split() == ["status", "3"]
    assert "no directory to unpack to" in finished.stderr.splitlines()[-1]
