# SPDX-License-Identifier: GPL-2.0-only
"""The Python that travels asks nothing of the host, is the same each time, and leaves nothing.

The bundles here hold the very Python that runs the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bundle_maker import (
    MACHINE,
    SLEEPING_RUNNER,
    make_bundle,
    start,
)
from bundle_runs import SHELLS, one_line, report
from page_alloc_bench.packager.interpreter import BLOCK, Interpreter
from page_alloc_bench.runner.bundle_file.archive import Archive
from waiting import eventually

# What the stub starts on its way to an embedded Python.
TOOLS = (
    "chmod", "dd", "env", "gzip", "mkdir", "mkfifo", "rm", "setsid", "sh", "sha256sum", "sleep",
    "tar", "uname", "wc",
)  # fmt: skip


@pytest.fixture(scope="module")
def bench(embedding_bundle: Path) -> Path:
    return embedding_bundle


def embedded(scratch: Path, **more: str) -> dict[str, str]:
    """Return the environment that makes a bundle take its own Python and unpack into scratch."""
    return {
        "PAGE_ALLOC_BENCH_PYTHON": "embedded", "PAGE_ALLOC_BENCH_TMPDIR": str(scratch), **more
    }  # fmt: skip


def mentioned(word: str) -> list[str]:
    """Return the command lines of the processes that mention word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if word in line:
            found.append(line)
    return found


def without_python(directory: Path, *missing: str) -> str:
    """Return a PATH of one directory with the tools that the stub needs, and no Python."""
    directory.mkdir()
    for name in set(TOOLS) - set(missing):
        (directory / name).symlink_to(shutil.which(name) or "/nonexistent")
    return str(directory)


# In a bundle.


@pytest.mark.parametrize("shell", [[], *SHELLS])
def test_it_passes_everything_through(shell: list[str], bench: Path, scratch: Path) -> None:
    arguments = ["", " ", "a b", "two\nlines\n", "*", "$HOME", "'", '"', "\\", "--", "-x", "ü"]
    finished = start([*shell, str(bench), *arguments], env=embedded(scratch), input="given")
    told = report(finished)
    assert (told["argv"], told["stdin"]) == (arguments, "given")
    assert told["bundle"] == str(bench)
    assert Path(told["scratch"]).parent == scratch
    assert (told["scratch_mode"], told["flags"]) == (0o700, [1, 1, 1])
    assert list(scratch.iterdir()) == []
    assert eventually(lambda: not mentioned(told["scratch"]))


def test_it_is_the_process_that_was_started(bench: Path, scratch: Path) -> None:
    environment = {**os.environ, **embedded(scratch)}
    with subprocess.Popen(
        [bench], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        output, _ = process.communicate()
    assert json.loads(output)["pid"] == process.pid


def test_the_hosts_python_comes_first(bench: Path, scratch: Path, tmp_path: Path) -> None:
    told = report(start([str(bench)], env={"PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}))
    assert len(Path(told["scratch"]).name.partition(".")[2]) == 16, "the stub's have dashes"


def test_it_steps_in_where_there_is_no_python(
    bench: Path, hidden: list[str], scratch: Path, tmp_path: Path
) -> None:
    environment = embedded(scratch, PATH=without_python(tmp_path / "bin"))
    del environment["PAGE_ALLOC_BENCH_PYTHON"]
    told = report(start([*hidden, "/bin/sh", str(bench), "x"], env=environment))
    assert told["argv"] == ["x"]
    assert "-" in Path(told["scratch"]).name.partition(".")[2], "the stub made it"
    assert list(scratch.iterdir()) == []


def test_a_python_that_was_named_and_does_not_serve_is_no_silent_fallback(
    bench: Path, scratch: Path
) -> None:
    finished = start([str(bench)], env=embedded(scratch, PAGE_ALLOC_BENCH_PYTHON="/bin/true"))
    assert (finished.returncode, finished.stdout) == (3, "")
    assert "/bin/true" in one_line(finished.stderr)


@pytest.mark.parametrize("tool", ["gzip", "tar", "dd"])
def test_what_it_needs_and_misses_is_named(
    tool: str, bench: Path, scratch: Path, tmp_path: Path
) -> None:
    path = without_python(tmp_path / "bin", tool)
    finished = start(["/bin/sh", str(bench)], env=embedded(scratch, PATH=path))
    if tool == "dd":  # the digest of the zip is what stumbles first
        assert finished.returncode != 0
    else:
        assert finished.returncode == 3
        assert f"unpack the embedded Python: {tool};" in one_line(finished.stderr)
    assert finished.stdout == ""
    assert list(scratch.iterdir()) == []


def test_with_a_python_of_the_host_neither_tar_nor_gzip_is_needed(
    bench: Path, scratch: Path, tmp_path: Path
) -> None:
    path = without_python(tmp_path / "bin", "tar", "gzip", "setsid", "mkfifo")
    environment = {
        "PATH": path, "PAGE_ALLOC_BENCH_PYTHON": sys.executable,
        "PAGE_ALLOC_BENCH_TMPDIR": str(scratch),
    }  # fmt: skip
    assert report(start(["/bin/sh", str(bench), "x"], env=environment))["argv"] == ["x"]


def test_without_setsid_it_still_runs(bench: Path, scratch: Path, tmp_path: Path) -> None:
    environment = embedded(scratch, PATH=without_python(tmp_path / "bin", "setsid"))
    assert report(start(["/bin/sh", str(bench), "x"], env=environment))["argv"] == ["x"]
    assert list(scratch.iterdir()) == []


def test_nothing_inherited_steers_it(bench: Path, scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "libffi.so.8").write_text("not a library")
    hostile = {
        "LD_LIBRARY_PATH": str(tmp_path), "PYTHONHOME": "/wrong",
        "PYTHONPATH": str(tmp_path), "python": "/bin/false", "missing": "x", "dir": "/",
    }  # fmt: skip
    told = report(start(["/bin/sh", str(bench)], env=embedded(scratch, **hostile)))
    assert told["inherited"] == ["SHIV_ROOT"]


@pytest.mark.parametrize("name", ["with:colon", "with;semicolon", "$ORIGIN"])
def test_places_that_a_library_path_cannot_name_are_skipped(
    name: str, bench: Path, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    told = report(start([str(bench)], env=embedded(tmp_path / name)))
    assert not told["scratch"].startswith(str(tmp_path))
    assert list((tmp_path / name).iterdir()) == []


def test_a_damaged_interpreter_is_refused_and_named(
    bench: Path, scratch: Path, tmp_path: Path
) -> None:
    (described,) = Archive(bench).manifest()["interpreters"]
    data = bytearray(bench.read_bytes())
    data[described["offset"] + described["size"] // 2] ^= 1
    copy = tmp_path / "bench.run"
    copy.write_bytes(data)
    finished = start(["sh", str(copy)], env=embedded(scratch))
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "the embedded Python" in one_line(finished.stderr)
    assert Archive(copy).problems() == [f"python-{MACHINE}.tar.gz has changed"]
    checked = start([sys.executable, str(copy), "--check"])
    assert checked.returncode == 1
    assert f"python-{MACHINE}.tar.gz has changed" in checked.stderr


def test_list_check_and_info_speak_of_it(bench: Path, python: Interpreter) -> None:
    assert Archive(bench).problems() == []
    listed = start([str(bench), "--list"]).stdout
    assert f"{len(python.data):>9,}  python-{MACHINE}.tar.gz\n" in listed
    (described,) = json.loads(start([str(bench), "--info"]).stdout)["interpreters"]
    assert (described["version"], described["machine"]) == (python.version, MACHINE)


def test_a_bundle_for_two_architectures_has_two(
    python: Interpreter, scratch: Path, tmp_path: Path
) -> None:
    other = replace(python, machine="m68k", data=bytes(3 * BLOCK))
    for order in ([python, other], [other, python]):
        bench = make_bundle(tmp_path / "bench.run", interpreters=order)
        assert Archive(bench).problems() == []
        assert report(start([str(bench), "x"], env=embedded(scratch)))["argv"] == ["x"]
    bench = make_bundle(tmp_path / "bench.run", interpreters=[other])
    finished = start([str(bench), "x"], env=embedded(scratch))
    assert (finished.returncode, finished.stdout) == (3, "")
    assert f"this bundle has no Python for {MACHINE}" in one_line(finished.stderr)


def test_an_extracted_bundle_has_it_too(bench: Path, scratch: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    extracted = start([str(bench), "--extract", str(target)], env=embedded(scratch))
    assert extracted.returncode == 0, extracted.stderr
    assert list(scratch.iterdir()) == []
    told = report(start([str(target / "run.sh"), "x"], env=embedded(scratch)))
    assert (told["argv"], told["bundle"]) == (["x"], str(target))
    assert list(scratch.iterdir()) == []
    assert start([str(target / "run.sh"), "--check"], env=embedded(scratch)).returncode == 0


def test_keep_keeps_it(bench: Path, scratch: Path) -> None:
    told = report(start([str(bench), "--keep"], env=embedded(scratch)))
    assert eventually(lambda: not mentioned(told["scratch"]))
    assert [str(path) for path in scratch.iterdir()] == [told["scratch"]]
    assert (Path(told["scratch"]) / "python/bin/python3").exists()


# However it ends.


@pytest.mark.parametrize("which", ["embedded", sys.executable])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_end_at_any_moment_leaves_nothing(
    number: signal.Signals, which: str, python: Interpreter, tmp_path: Path, scratch: Path
) -> None:
    bench = make_bundle(tmp_path / "bench.run", SLEEPING_RUNNER, interpreters=[python])
    environment = {**os.environ, **embedded(scratch, PAGE_ALLOC_BENCH_PYTHON=which)}
    began = time.monotonic()
    with subprocess.Popen([bench], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        whole = time.monotonic() - began
        process.kill()
    steps = 13 if number == signal.SIGKILL else 5
    for step in range(steps):
        with subprocess.Popen(
            [bench], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(whole * 1.2 * step / steps)
            process.send_signal(number)
            status = process.wait(20)
            # Python makes an exception of SIGINT until the launcher has its say.
            assert status == -number or (number, status) == (signal.SIGINT, 1)
        assert eventually(lambda: not list(scratch.iterdir())), step
    assert eventually(lambda: not mentioned(str(scratch)))


def test_a_killed_process_group_leaves_nothing(
    python: Interpreter, tmp_path: Path, scratch: Path
) -> None:
    """As timeout -s KILL does it."""
    bench = make_bundle(tmp_path / "bench.run", SLEEPING_RUNNER, interpreters=[python])
    environment = {**os.environ, **embedded(scratch)}
    with subprocess.Popen(
        [bench], env=environment, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
    assert eventually(lambda: not list(scratch.iterdir()))
    assert eventually(lambda: not mentioned(str(scratch)))
