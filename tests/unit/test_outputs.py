# SPDX-License-Identifier: GPL-2.0-only
"""What an option names is written as the shell's ``>`` would, and a file is whole or not there."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from page_alloc_bench import outputs
from page_alloc_bench.cli import main
from page_alloc_bench.cli.common import PathType

DATA = Path(__file__).parents[1] / "data/results"
BASE, NEW = DATA / "init_on_alloc-1", DATA / "init_on_alloc-0"
RESULT = str(sorted(NEW.glob("*.json.gz"))[0])
SIDES = [str(BASE / "0*.json.gz"), "--vs", str(NEW / "0*.json.gz")]
# Of each command that writes a file, and of each way in which it makes one; its exit code.
COMMANDS = {
    "compare": (["compare", *SIDES, "--format", "csv", "--threshold", "99%"], 0),
    "export-csv": (["export", "--format", "csv", RESULT], 0),
    "export-openmetrics": (["export", "--format", "openmetrics", RESULT], 0),
    "export-kcidb": (["export", "--format", "kcidb", RESULT], 0),
    "export-parquet": (["export", "--format", "parquet", RESULT], 0),
}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> Callable[[Path], tuple[int, str]]:
    arguments, expected = COMMANDS[request.param]

    def run(output: Path) -> tuple[int, str]:
        done = CliRunner().invoke(main, [*arguments, "-o", str(output)])
        assert done.exit_code != 0 or done.stdout == ""
        return done.exit_code - expected, done.stderr

    return run


def read_in_background(path: Path) -> tuple[threading.Thread, list[bytes]]:
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.append(path.read_bytes()), daemon=True)
    thread.start()
    return thread, read


def test_every_command_writes_into_a_device_a_pipe_and_through_a_link(
    command: Callable[[Path], tuple[int, str]], tmp_path: Path
) -> None:
    plain, pipe, link, null = (tmp_path / name for name in ("plain", "pipe", "link", "null"))
    assert command(plain)[0] == 0
    assert plain.stat().st_size > 100

    os.mkfifo(pipe)
    thread, read = read_in_background(pipe)
    assert command(pipe)[0] == 0
    thread.join(60)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert len(read[0]) > 100

    target = tmp_path / "target"
    target.write_text("old")
    link.symlink_to("target")
    assert command(link)[0] == 0
    assert link.is_symlink()
    assert target.stat().st_size > 100

    null.symlink_to("/dev/null")
    assert command(null)[0] == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert null.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "pipe", "link", "target", "null"}


def test_every_command_tells_what_cannot_be_written_in_one_line(
    command: Callable[[Path], tuple[int, str]], tmp_path: Path
) -> None:
    usage = command(tmp_path)[0]
    assert usage in (2, 3)  # of compare, 2 is a verdict
    for path, why in (
        (tmp_path, "it is a directory"),
        (tmp_path / "absent/file", "No such file or directory"),
        (Path(RESULT) / "file", "Not a directory"),
        (Path("/proc/file"), "No such file or directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        assert command(path) == (usage, f"error: cannot write {path}: {why}\n")
    status, told = command(Path("/dev/full"))
    assert status == 3
    last = told.splitlines()[-1]  # compare's warnings come before it
    assert last == "error: cannot write to /dev/full: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_written_into_a_pipe_and_complains_alike(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread, read = read_in_background(pipe)
    assert CliRunner().invoke(main, ["report", RESULT, "-o", str(pipe)]).exit_code == 0
    thread.join(60)
    assert b"</html>" in read[0]
    done = CliRunner().invoke(main, ["report", RESULT, "-o", str(tmp_path)])
    told = f"error: cannot write {tmp_path}: it is a directory\n"
    assert (done.exit_code, done.stderr) == (2, told)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_dash_is_stdout_in_every_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, status = COMMANDS[name]
    done = CliRunner().invoke(main, [*arguments, "-o", "-"])
    assert done.exit_code == status
    assert len(done.stdout_bytes) > 100
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("file", ["-", "none"])
def test_a_file_may_have_a_name_that_means_something_else(
    name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, status = COMMANDS[name]
    done = CliRunner().invoke(main, [*arguments, "-o", f"./{file}"])
    assert (done.exit_code, done.stdout) == (status, "")
    assert [path.name for path in tmp_path.iterdir()] == [file]
    assert (tmp_path / file).stat().st_size > 100


def options_of(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Parameter]]:
    """Yield the options of all commands that name a file or a directory."""
    for parameter in command.params:
        if isinstance(parameter.type, click.Path | click.File):
            yield f"{name} {parameter.opts[-1]}", parameter
    if isinstance(command, click.Group):
        for below in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), below)
            assert found is not None
            yield from options_of(found, f"{name} {below}".strip())


def test_what_begins_with_a_dot_is_a_file_for_each_option_of_each_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    of_outputs = []
    for name, option in options_of(main):
        if not isinstance(option.type, PathType):
            # That would take ./- for stdout, which is no matter for what is read.
            assert getattr(option.type, "exists", False), name
            continue
        of_outputs.append(name)
        for text in ("-", "none"):
            assert str(option.type.convert(text, option, None)) == text, name
            for way in ("./", ".//", "././", f"{tmp_path}/"):
                path = option.type.convert(f"{way}{text}", option, None)
                assert path == tmp_path / text, name
                assert not outputs.is_stdout(path), name
        assert option.type.convert("./other", option, None) == Path("other"), name
    for name in ("vm --output", "vm --console", "build --sbom", "export --output"):
        assert name in of_outputs


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_what_stdout_is_sent_to_is_not_cut(name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    script = (
        "import sys; from pathlib import Path; from page_alloc_bench import outputs\n"
        f"print('before'); outputs.write(Path({name!r}), b'between\\n'); print('after')"
    )
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", script], stdout=log, cwd=tmp_path, check=True)
    assert (tmp_path / "log").read_text() == "before\nbetween\nafter\n"
    assert {path.name for path in tmp_path.iterdir()} == {"log", "link"}


def test_a_descriptor_of_the_caller_is_written(tmp_path: Path) -> None:
    reader, writer = os.pipe()  # as the shell's >(program) is one
    outputs.write(Path(f"/dev/fd/{writer}"), b"written")
    os.close(writer)
    with open(reader, "rb") as stream:
        assert stream.read() == b"written"


@pytest.mark.parametrize("name", ["/dev/stderr", "/proc/self/fd/2", "link", "link to link"])
def test_what_stderr_is_sent_to_is_not_cut(name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stderr")
    (tmp_path / "link to link").symlink_to("link")
    script = (
        "import sys; from pathlib import Path; from page_alloc_bench import outputs\n"
        "def say(text): print(text, file=sys.stderr, flush=True)\n"
        f"say('before'); outputs.write(Path({name!r}), b'between\\n'); say('after')"
    )
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", script], stderr=log, cwd=tmp_path, check=True)
    assert (tmp_path / "log").read_text() == "before\nbetween\nafter\n"
    assert {path.name for path in tmp_path.iterdir()} == {"log", "link", "link to link"}


def test_a_link_to_nothing_makes_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    outputs.write(tmp_path / "link", b"new")
    assert (tmp_path / "target").read_bytes() == b"new"


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("executable", [False, True])
@pytest.mark.parametrize("unnamed", [True, False])
def test_a_file_is_not_seen_before_it_is_whole(
    unnamed: bool, executable: bool, umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not unnamed:  # as a file system has it that knows no O_TMPFILE, such as NFS
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)
    old = tmp_path / "old"
    old.write_text("old")
    for path in (old, tmp_path / "new"):
        previous = os.umask(umask)
        try:
            with outputs.OutputFile(path, executable=executable) as stream:
                stream.write(b"content")
                stream.flush()
                names = {entry.name for entry in tmp_path.iterdir() if entry.name[0] != "."}
                assert names == ({"old"})
                assert old.read_text() == "old"
        finally:
            os.umask(previous)
        assert path.read_text() == "content"
        assert path.stat().st_mode & 0o777 == (0o777 if executable else 0o666) & ~umask
        assert all(entry.name[0] != "." for entry in tmp_path.iterdir())
        old.write_text("old")


@pytest.mark.parametrize("unnamed", [True, False])
def test_an_exception_leaves_what_was_there(
    unnamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not unnamed:
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted() -> None:
        with outputs.OutputFile(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_sigkill_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    script = (
        "import os, sys; from pathlib import Path; from page_alloc_bench import outputs\n"
        "with outputs.OutputFile(Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'half'); stream.flush(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_two_options_must_not_name_one_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    arguments = ["build", "--kdir", str(tmp_path), "-o", str(tmp_path / "file")]
    for other in ("file", "link"):
        done = CliRunner().invoke(main, [*arguments, "--sbom", str(tmp_path / other)])
        assert done.exit_code == 2
        assert done.stderr.startswith("error: two options name ")
    outputs.refuse_twins([Path("/dev/null"), Path("/dev/null"), None])
    with pytest.raises(outputs.OutputError):
        outputs.refuse_twins([Path("-"), Path("/dev/stdout")])


@pytest.mark.parametrize("name", ["result.json", "link.json"])
@pytest.mark.parametrize(
    "words",
    [
        ["export", "result.json", "--format", "csv", "-o"],
        ["export", "result.json", "--format", "parquet", "-o"],
        ["compare", str(BASE), "--vs", "result.json", "-o"],
        ["report", "result.json", "-o"],
    ],
    ids=["csv", "parquet", "compare", "report"],
)
def test_no_output_takes_the_place_of_an_input(words: list[str], name: str, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    shutil.copyfile(RESULT, result)
    (tmp_path / "link.json").symlink_to(result)
    before = result.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "page_alloc_bench.cli", *words, name],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (2, 3), done.stderr
    assert f"error: cannot write {name}: this command reads it; give another name" in done.stderr
    assert result.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["link.json", "result.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a file of another user")
def test_a_strangers_pipe_or_link_in_tmp_is_refused() -> None:
    for name in ("protected_fifos", "protected_symlinks"):
        if Path(f"/proc/sys/fs/{name}").read_text().strip() == "0":
            pytest.skip(f"fs.{name} is off on this machine")
    place = Path("/tmp") / f"page-alloc-bench-test.{os.getpid()}"
    try:
        os.mkfifo(place)
        os.chown(place, 65534, 65534)
        with pytest.raises(outputs.OutputError, match="Permission denied"):
            outputs.OutputFile(place)
        place.unlink()
        place.symlink_to("/tmp/absent")
        os.chown(place, 65534, 65534, follow_symlinks=False)
        with pytest.raises(outputs.OutputError, match="Permission denied"):
            outputs.OutputFile(place)
    finally:
        place.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "--kdir", "TREE", "-o"],
        ["build", "--kdir", "TREE", "-o", "x", "--sbom"],
        ["build", "--kdir", "TREE", "-o", "x", "--compile-commands"],
    ],
)
def test_what_builds_finds_out_before_it_does(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [*arguments, str(tmp_path)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: cannot write {tmp_path}: it is a directory\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        "export --format csv RESULT -o ''",
        "export --format falba RESULT -o ''",
        "report RESULT -o ''",
        "report RESULT --svg ''",
        "report RESULT --png ''",
        "store add '' RESULT",
        "show ''",
        "query 'SELECT 1' ''",
        "compare '' --vs RESULT",
        "compare RESULT --vs RESULT -o ''",
        "fleet status --dir ''",
        "build --kdir ''",
        "build -o ''",
        "vm -o ''",
        "ab a b --dir ''",
        "ab a b --tree ''",
    ],
)
def test_an_empty_name_is_not_the_current_directory(command: str, tmp_path: Path) -> None:
    shutil.copy(RESULT, tmp_path / "result.json.gz")
    words = [word.replace("RESULT", "result.json.gz") for word in shlex.split(command)]
    done = subprocess.run(
        [sys.executable, "-m", "page_alloc_bench", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (2, 3)
    assert done.stdout == ""
    assert "it is empty" in done.stderr or "'': is not the name of a file" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["result.json.gz"]
