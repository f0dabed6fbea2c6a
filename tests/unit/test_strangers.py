# SPDX-License-Identifier: GPL-2.0-only
"""What a stranger has prepared on the host: root runs none of it and writes nowhere he likes.

The stranger is uid 1000, who has directories of his own and may make files in some of root's.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle_maker import start
from bundle_runs import report
from page_alloc_bench.runner import launch
from page_alloc_bench.runner.bundle_file import target_build, verbs
from page_alloc_bench.runner.bundle_file.archive import Archive
from page_alloc_bench.runner.errors import UsageError
from page_alloc_bench.runner.lifetime import safe_paths
from page_alloc_bench.runner.telling import output

STRANGER = 1000
TOOLS = (
    *("wc", "dd", "sha256sum", "python3", "gzip", "tar"),
    *("uname", "ls", "id", "mkdir", "sh", "rm"),
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what is another's")


@pytest.fixture(scope="module")
def bench(plain_bundle: Path) -> Path:
    return plain_bundle


@pytest.fixture(scope="module")
def embedding(embedding_bundle: Path) -> Path:
    return embedding_bundle


def his(path: Path, mode: int = 0o755) -> Path:
    """Make a directory of the stranger's."""
    path.mkdir()
    os.chown(path, STRANGER, STRANGER)
    path.chmod(mode)
    return path


def for_all(path: Path, mode: int = 0o1777) -> Path:
    """Make a directory of root's in which everybody may make files."""
    path.mkdir()
    path.chmod(mode)
    return path


def plant_programs(directory: Path, note: Path) -> Path:
    """Put programs of the names that the stub runs into a directory; each leaves a note."""
    for name in TOOLS:
        program = directory / name
        program.write_text(f"#!/bin/sh\necho $0 >> {note}\nexit 0\n")
        program.chmod(0o755)
    return directory


# Programs in PATH, modules in the current directory.


def dotted(path: Path) -> Path:
    path.mkdir()
    return for_all(path.parent / "open", 0o777) / "."


@pytest.mark.parametrize(
    ("make", "shell"),
    [
        (his, ["dash"]),
        (for_all, ["bash"]),
        (lambda path: for_all(path, 0o777), []),
        (lambda path: for_all(path, 0o775), ["dash"]),
        (dotted, ["bash"]),
    ],
    ids=["stranger's", "sticky", "for all", "for a group", "for all, with a dot"],
)
def test_planted_programs_are_not_run(
    make: Callable[[Path], Path], shell: list[str], bench: Path, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    planted = plant_programs(make(tmp_path / "planted"), note)
    env = {"PATH": f"{planted}:{os.environ['PATH']}"}
    report(start([*shell, str(bench)], env=env, cwd=tmp_path))
    assert not note.exists()


@pytest.mark.parametrize("entry", [".", "", "bin"])
def test_path_does_not_lead_to_the_current_directory(
    entry: str, bench: Path, tmp_path: Path
) -> None:
    """Be it root's own: where one happens to be is nobody's choice of programs."""
    note = tmp_path / "note"
    (tmp_path / "bin").mkdir()
    plant_programs(tmp_path / entry, note)
    report(start([str(bench)], env={"PATH": f"{entry}:{os.environ['PATH']}"}, cwd=tmp_path))
    assert not note.exists()


def test_a_directory_below_a_strangers_is_the_strangers(bench: Path, tmp_path: Path) -> None:
    note = tmp_path / "note"
    below = his(tmp_path / "home") / "bin"
    below.mkdir()
    plant_programs(below, note)
    report(start([str(bench)], env={"PATH": f"{below}:{os.environ['PATH']}"}))
    (tmp_path / "link").symlink_to(below)
    report(start([str(bench)], env={"PATH": f"{tmp_path}/link:{os.environ['PATH']}"}))
    assert not note.exists()


def test_roots_own_directory_in_path_is_used(bench: Path, tmp_path: Path) -> None:
    """Which shows that the tests above would see a planted program run."""
    note = tmp_path / "note"
    (tmp_path / "bin").mkdir()
    plant_programs(tmp_path / "bin", note)
    start([str(bench)], env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
    assert "bin/wc" in note.read_text()


def test_python_gets_the_same_path(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = for_all(tmp_path / "bad"), tmp_path / "good"
    good.mkdir()
    monkeypatch.setenv("PATH", f":{bad}:.:{good}:/usr/bin:/nowhere:{his(tmp_path / 'his')}:rel")
    launch.scrub_environment()
    assert os.environ["PATH"] == f"{good}:/usr/bin"
    assert bench.exists()


@pytest.mark.parametrize("how", [["sh"], [sys.executable], []], ids=["sh", "python", "own"])
def test_planted_modules_are_not_imported(how: list[str], bench: Path, tmp_path: Path) -> None:
    for name in ("re", "zlib", "json", "signal", "mmap", "shutil", "psutil", "_bootstrap"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('planted')")
    (tmp_path / "page_alloc_bench").mkdir()
    (tmp_path / "page_alloc_bench/__init__.py").write_text("raise RuntimeError('planted')")
    assert report(start([*how, str(bench)], cwd=tmp_path))["package"].startswith("/dev/shm/")


def test_what_lies_where_shiv_unpacks_to_by_default_is_not_run(bench: Path, tmp_path: Path) -> None:
    """shiv would take it as it is: ~/.shiv/NAME_BUILD/site-packages."""
    build = json.loads(
        subprocess.run(["unzip", "-p", str(bench), "environment.json"],
                       check=True, capture_output=True, text=True).stdout
    )["build_id"]  # fmt: skip
    for name in (f"bench.run_{build}", f"bench_{build}"):
        package = tmp_path / ".shiv" / name / "site-packages/page_alloc_bench"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('planted')")
    assert "/dev/shm/" in report(start([str(bench)], env={"HOME": str(tmp_path)}))["package"]


# Where it unpacks to.


def unsafe_places(tmp_path: Path) -> dict[str, Path]:
    """Directories that somebody else can put another in the place of."""
    home = his(tmp_path / "home")
    below = home / "root's"
    below.mkdir(mode=0o700)
    open_to_all = for_all(tmp_path / "open", 0o777)
    inside = open_to_all / "root's"
    inside.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(home)
    return {
        "stranger's": home, "below": below, "open": open_to_all, "inside": inside,
        "link": tmp_path / "link",
    }  # fmt: skip


@pytest.mark.parametrize("place", ["stranger's", "below", "open", "inside", "link"])
def test_it_does_not_unpack_where_others_could_swap_it(
    place: str, bench: Path, embedding: Path, tmp_path: Path
) -> None:
    where = unsafe_places(tmp_path)[place]
    assert launch.others_may_change(str(where))
    assert safe_paths.others_may_change(str(where))
    env = {"PAGE_ALLOC_BENCH_TMPDIR": str(where)}
    assert report(start([str(bench)], env=env))["scratch"].startswith("/dev/shm/")
    env["PAGE_ALLOC_BENCH_PYTHON"] = "embedded"
    assert report(start([str(embedding)], env=env))["scratch"].startswith("/dev/shm/")


def test_it_unpacks_where_names_cannot_be_guessed(
    bench: Path, embedding: Path, tmp_path: Path
) -> None:
    where = for_all(tmp_path / "like tmp")
    env = {"PAGE_ALLOC_BENCH_TMPDIR": str(where)}
    assert report(start([str(bench)], env=env))["scratch"].startswith(str(where))
    env["PAGE_ALLOC_BENCH_PYTHON"] = "embedded"
    assert report(start([str(embedding)], env=env))["scratch"].startswith(str(where))
    assert list(where.iterdir()) == []


def test_nothing_is_compiled_where_others_could_swap_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert target_build.place(str(his(tmp_path / "his"))).startswith("/dev/shm/")
    assert target_build.place(str(for_all(tmp_path / "sticky"))).startswith(str(tmp_path))
    monkeypatch.setenv("TMPDIR", "/nowhere")


# The result.


def write(path: Path) -> None:
    out = output.open_output(str(path), lambda _: None)
    try:
        out.write(["{}\n"], lambda: None)
    finally:
        out.discard()


def test_a_strangers_link_in_the_path_is_not_followed(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    shared = for_all(tmp_path / "tmp")
    link = shared / "results"
    link.symlink_to(etc)
    os.lchown(link, STRANGER, STRANGER)
    with pytest.raises(UsageError, match="symbolic link of user 1000"):
        write(link / "result.json")
    assert list(etc.iterdir()) == []
    os.lchown(link, 0, 0)
    write(link / "result.json")
    assert (etc / "result.json").read_text() == "{}\n"


def test_links_of_roots_are_followed_to_where_they_lead(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "relative").symlink_to("a/../a/b")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    write(tmp_path / "absolute" / "result.json")
    assert (tmp_path / "a/b/result.json").exists()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="Too many levels of symbolic links"):
        write(tmp_path / "loop" / "result.json")
    with pytest.raises(UsageError, match="Not a directory"):
        write(tmp_path / "a/b/result.json/x")


def test_a_hard_link_is_replaced_and_what_it_names_is_not_written(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("root's")
    shared = for_all(tmp_path / "tmp")
    (shared / "result.json").hardlink_to(precious)
    write(shared / "result.json")
    assert precious.read_text() == "root's"
    assert (shared / "result.json").read_text() == "{}\n"


def test_a_strangers_fifo_gets_nothing(tmp_path: Path) -> None:
    shared = for_all(tmp_path / "tmp")
    fifo = shared / "result.json"
    os.mkfifo(fifo)
    os.chown(fifo, STRANGER, STRANGER)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(UsageError, match="another user has put it there"):
        write(fifo)
    os.chown(fifo, 0, 0)
    write(fifo)
    assert os.read(reader, 100) == b"{}\n"
    os.close(reader)


def test_a_directory_that_is_swapped_meanwhile_does_not_move_the_result(tmp_path: Path) -> None:
    etc, home = tmp_path / "etc", his(tmp_path / "home")
    etc.mkdir()
    out = output.open_output(str(home / "result.json"), lambda _: None)
    home.rename(tmp_path / "moved")
    home.symlink_to(etc)
    out.write(["{}\n"], lambda: None)
    assert list(etc.iterdir()) == []
    assert (tmp_path / "moved/result.json").exists()


# What --extract lays out.


def extract(bench: Path, target: Path) -> int:
    return verbs.extract(Archive(bench), target)


def test_a_new_directory_is_made_and_is_roots(bench: Path, tmp_path: Path) -> None:
    assert extract(bench, tmp_path / "a/b") == 0
    assert (tmp_path / "a/b/run.sh").stat().st_mode & 0o111
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) & 0o022 == 0


@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_extract_refuses_a_directory_that_others_can_write_to(
    mode: int, bench: Path, tmp_path: Path
) -> None:
    target = his(tmp_path / "target") if mode == 0o755 else for_all(tmp_path / "target", mode)
    with pytest.raises(OSError, match="other users can write to it"):
        extract(bench, target)
    assert list(target.iterdir()) == []


def test_extract_follows_no_strangers_link(bench: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    shared = for_all(tmp_path / "tmp")
    link = shared / "target"
    link.symlink_to(precious)
    os.lchown(link, STRANGER, STRANGER)
    with pytest.raises(OSError, match="target"):
        extract(bench, link)
    with pytest.raises(OSError, match="symbolic link of user 1000"):
        extract(bench, link / "below")
    assert [path for path in precious.rglob("*") if path.is_file()] == []
