# SPDX-License-Identifier: GPL-2.0-only
"""--output-path writes where the shell's ``>`` would: through links, and into what is open already.

Nothing here may ever be written to a name in /dev: as root, a file in its place would stay.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from detached_host import Host
from page_alloc_bench.runner import options
from page_alloc_bench.runner.errors import RunnerError, UsageError
from page_alloc_bench.runner.preflight.host import Host as Preflighted
from page_alloc_bench.runner.telling import output

STRANGER = 1000
TEXT = "{}\n"


def write(path: Path | str, *, is_file: bool) -> None:
    """Write there; where that is no file, none may be made on the way."""
    made: list[str] = []
    opened = output.open_output(str(path), made.append)
    try:
        assert bool(made) == is_file
        opened.write([TEXT], lambda: None)
    finally:
        opened.discard()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for end in (reader, writer):
        os.close(end)


@contextlib.contextmanager
def instead_of(standard: int, descriptor: int) -> Iterator[None]:
    """Let a standard stream be another descriptor meanwhile."""
    saved = os.dup(standard)
    os.dup2(descriptor, standard)
    try:
        yield
    finally:
        os.dup2(saved, standard)
        os.close(saved)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_link_to_a_file_stays_and_its_target_is_replaced(steps: int, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    target = tmp_path / "place/target.json"
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to("place/../place/target.json")
    if steps == 2:
        link = tmp_path / "place/link"
        link.symlink_to(tmp_path / "link")
    announced: list[str] = []
    opened = output.open_output(str(link), announced.append)
    assert [os.path.exists(path) for path in announced] == [True]
    assert os.path.samefile(os.path.dirname(announced[0]), target.parent)
    assert target.read_text() == "old"
    opened.write([TEXT], lambda: None)
    opened.discard()
    assert link.is_symlink()
    assert (target.is_symlink(), target.read_text()) == (False, TEXT)
    assert not os.path.exists(announced[0])


def test_a_link_to_nothing_makes_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target.json")
    write(tmp_path / "link", is_file=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target.json").read_text() == TEXT


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("link", "Too many levels of symbolic links"),
        ("absent/target", "No such file or directory"),
        ("file/target", "Not a directory"),
        (".", "Is a directory"),
        ("..", "Is a directory"),
        ("/", "Is a directory"),
        ("a\nb", "line break"),
    ],
)
def test_a_link_that_leads_to_no_file_is_refused_at_once(
    target: str, why: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(UsageError, match=f"--output-path.*{why}"):
        write(tmp_path / "link", is_file=True)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


def test_the_root_directory_is_refused() -> None:
    with pytest.raises(UsageError, match="--output-path=/: Is a directory"):
        write("/", is_file=True)


def test_a_link_to_a_device_leads_into_the_device(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/full")
    with pytest.raises(RunnerError, match=f"{link}: No space left on device"):
        write(link, is_file=False)
    assert link.is_symlink()
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_link_to_a_pipe_leads_into_the_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    write(tmp_path / "link", is_file=False)
    assert os.read(reader, 100) == TEXT.encode()
    os.close(reader)
    assert (tmp_path / "link").is_symlink()
    assert stat.S_ISFIFO(os.stat(tmp_path / "fifo").st_mode)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/{pid}/fd/{}"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_descriptor_of_the_caller_is_written_and_stays_open(
    name: str, linked: bool, pipe: tuple[int, int], tmp_path: Path
) -> None:
    reader, writer = pipe  # as the shell's >(program) is one
    path = name.format(writer, pid=os.getpid())
    if linked:
        (tmp_path / "link").symlink_to(path)
        path = str(tmp_path / "link")
    for _ in range(2):
        write(path, is_file=False)
        assert os.read(reader, 100) == TEXT.encode()


@pytest.mark.parametrize("name", ["/dev/stderr", "/dev/fd/2", "link", "link to link"])
def test_stderr_is_written_where_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stderr")
    (tmp_path / "link to link").symlink_to("link")
    with (tmp_path / "log").open("wb", buffering=0) as log, instead_of(2, log.fileno()):
        log.write(b"before\n")
        write(tmp_path / name, is_file=False)  # an absolute name stays what it is
        os.write(2, b"after\n")
    assert (tmp_path / "log").read_text() == f"before\n{TEXT}after\n"
    assert Path("/dev/stderr").is_symlink()


@pytest.mark.parametrize("target", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_link_to_stdout_is_stdout(
    target: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(target)
    for path in (str(tmp_path / "link"), target):
        assert output.open_output(path, lambda _: None).to_stdout
        write(path, is_file=False)
        assert capfd.readouterr().out == TEXT
        with pytest.raises(UsageError, match="--ktap takes stdout"):
            output.open_output(path, lambda _: None, stdout_taken=True)


def test_a_descriptor_that_takes_nothing_is_refused_at_once(pipe: tuple[int, int]) -> None:
    for path in (f"/dev/fd/{pipe[0]}", "/dev/fd/9999"):
        with pytest.raises(UsageError, match="--output-path"):
            write(path, is_file=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what is another's")
@pytest.mark.parametrize("target", ["victim", "absent", "/dev/null", "/dev/stderr", "/dev/fd/1"])
def test_a_strangers_link_is_followed_nowhere(target: str, tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "victim").write_text("precious")
    link = shared / "result.json"
    link.symlink_to(target)
    os.lchown(link, STRANGER, STRANGER)
    (tmp_path / "link").symlink_to(link)  # root's own does not help him
    for path in (link, tmp_path / "link"):
        with pytest.raises(UsageError, match=f"{link} is a symbolic link of user {STRANGER}"):
            write(path, is_file=True)
    assert (shared / "victim").read_text() == "precious"
    assert {path.name for path in shared.iterdir()} == {"victim", "result.json"}


# A detached run, which has none of its starter's descriptors.


def test_what_a_detached_run_would_print_is_kept_for_attach(tmp_path: Path) -> None:
    host = Host(tmp_path)
    (tmp_path / "link").symlink_to("/dev/stdout")
    host.detach("--output-path", str(tmp_path / "link"))
    host.go()
    done = host.run("--attach")
    assert (done.returncode, done.stdout[:1]) == (0, "{")
    assert not host.kept.exists()


@pytest.mark.parametrize("name", ["/dev/stderr", "/dev/fd/{}", "link"])
def test_a_detached_run_cannot_write_what_its_starter_has_open(
    name: str, pipe: tuple[int, int], tmp_path: Path
) -> None:
    host = Host(tmp_path)
    (tmp_path / "link").symlink_to(f"/proc/self/fd/{pipe[1]}")
    path = str(tmp_path / name.format(pipe[1]))
    done = host.run("--detach", "--output-path", path, pass_fds=pipe)
    assert done.returncode == 2
    assert "--output-path" in done.stderr
    assert not host.kept.exists()


# The room that the preflight looks for.


def test_room_is_looked_for_where_the_file_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to("place/absent")
    asked: list[object] = []
    real = os.statvfs

    def statvfs(place: str) -> os.statvfs_result:
        asked.append(place)
        return real(place)

    monkeypatch.setattr(os, "statvfs", statvfs)
    host = Preflighted(options.parse([f"--output-path={tmp_path}/link"]))
    assert host.room_for_output() is not None
    assert asked == [str(tmp_path / "place")]


def test_a_result_that_goes_into_a_pipe_needs_no_room_here(pipe: tuple[int, int]) -> None:
    host = Preflighted(options.parse(["--output-path=-"]))
    with instead_of(1, pipe[1]):
        assert host.room_for_output() is None
