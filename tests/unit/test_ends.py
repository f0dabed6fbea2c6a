# SPDX-License-Identifier: GPL-2.0-only
"""However a command ends, its exit code says nothing that it did not find out, in one line."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from page_alloc_bench.cli import main
from page_alloc_bench.targets import kernels

TOP = Path(__file__).parents[2]
DATA = TOP / "tests/data/results"
BASE, NEW = str(DATA / "init_on_alloc-1/0*.json.gz"), str(DATA / "init_on_alloc-0/0*.json.gz")
RESULT = str(sorted((DATA / "init_on_alloc-0").glob("*.json.gz"))[0])
PAB = [sys.executable, "-m", "page_alloc_bench"]
# These runs show a regression, which is 1.
COMPARE = ["compare", NEW, "--vs", BASE]
PRINTING = {
    "--help": ["--help"],
    "--version": ["--version"],
    "compare --help": ["compare", "--help"],
    "compare": COMPARE,
    "show": ["show", RESULT],
    "show --json": ["show", RESULT, "--facts", "--json"],
    "query": ["query", "SELECT * FROM facts", RESULT],
    "query csv": ["query", "SELECT * FROM facts", RESULT, "--format", "csv"],
    "export": ["export", "--format", "csv", RESULT],
    "export parquet": ["export", "--format", "parquet", RESULT],
    "kernels --list": ["kernels", "--list"],
}


def shell(command: list[str], redirection: str) -> tuple[int, str]:
    """Run a command as a person does; return its own exit code, and what it says on stderr."""
    script = f"set -o pipefail; {shlex.join(command)} {redirection}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


FULL = "error: cannot write to stdout: No space left on device\n"


@pytest.mark.parametrize("name", PRINTING)
def test_a_full_disk_is_neither_success_nor_verdict(name: str) -> None:
    assert shell([*PAB, *PRINTING[name]], ">/dev/full") == (3, FULL)


# Help, a result in text, one of a verdict, and one in bytes: each has a way of its own to stdout.
@pytest.mark.parametrize("name", ["--help", "show", "compare", "export parquet"])
def test_a_stdout_that_is_closed_or_read_by_nobody_is_neither(name: str) -> None:
    command = [*PAB, *PRINTING[name]]
    status, told = shell(command, ">&-")
    assert status in (2, 3)  # where an option names it, it is known before the work
    assert told.startswith("error: cannot write ")
    assert told.endswith(": Bad file descriptor\n")
    assert told.count("\n") == 1
    # As of any program that a closed pipe ends.
    assert shell(command, "| true") == (128 + signal.SIGPIPE, "")


def test_a_lost_stderr_changes_no_exit_code() -> None:
    for lost in ("2>/dev/full", "2>&-", "2> >(true)"):
        assert shell([*PAB, "show", "/proc/absent"], lost)[0] == 2
    assert shell([*PAB, *COMPARE, "-o", "/dev/null"], "2>/dev/full")[0] == 1
    assert shell([*PAB, "--version"], "2>&- <&- >/dev/null")[0] == 0


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    """Yield the end of a pipe into which nothing more can be written."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


EXPORT = PRINTING["export"]  # as text, row by row


@pytest.mark.parametrize(
    "command",
    [COMPARE, [*COMPARE, "-o", "/dev/fd/%d"], EXPORT, [*EXPORT, "-o", "/dev/fd/%d"]],
    ids=["compare", "compare -o", "export", "export -o"],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_any_moment_is_128_and_more_without_a_word(
    number: signal.Signals, command: list[str]
) -> None:
    """Also while it waits for somebody who has stopped reading, with more to write."""
    # What is different about one of them, it is from the beginning.
    for later in (0, 0.05, 0.2, 0.4, 0.8, 1.6) if number == signal.SIGINT else (0.1, 1.6):
        with full_pipe() as nowhere:
            words = [each.replace("%d", str(nowhere)) for each in command]
            # From its first line on; before that it is Python that starts.
            script = (
                "import os, signal, sys, threading, time, page_alloc_bench.__main__ as command\n"
                f"sys.argv = {['page-alloc-bench', *words]!r}\n"
                f"later = lambda: (time.sleep({later}), os.kill(os.getpid(), {int(number)}))\n"
                "threading.Thread(target=later, daemon=True).start()\n"
                "command.main()"
            )
            done = subprocess.run(
                [sys.executable, "-c", script], stdout=nowhere, stderr=subprocess.PIPE,
                pass_fds=[nowhere], text=True, check=False, timeout=60,
            )  # fmt: skip
        assert (done.returncode, done.stderr) == (128 + number, ""), later


@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_that_a_library_swallows_is_not_lost(times: int) -> None:
    """As by "except:" around an import that may fail, which some have; and the next one ends it."""
    script = (
        "import os, signal, sys, time, page_alloc_bench.__main__ as command\n"
        f"sys.argv = {['page-alloc-bench', *COMPARE]!r}\n"
        "class Library:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'scipy':\n"
        "            sys.meta_path.remove(self)\n"
        "            try:\n"
        "                os.kill(os.getpid(), signal.SIGINT)\n"
        "                time.sleep(1)\n"
        "            except: pass\n"
        f"            if {times} > 1:\n"
        "                os.kill(os.getpid(), signal.SIGTERM)\n"
        "                time.sleep(60)\n"
        "sys.meta_path.insert(0, Library())\n"
        "command.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "")


def test_what_is_cleaned_up_after_a_signal_is_not_cut_short_by_another() -> None:
    script = (
        "import os, signal, time\n"
        "from page_alloc_bench.cli import ends\n"
        "def command():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(0.1)\n"
        "        print('clean')\n"
        "ends.run(command)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "clean\n", "")


def test_a_signal_that_the_caller_ignores_stays_ignored(tmp_path: Path) -> None:
    """The signals come while the command waits for what it reads."""
    script = f"""trap '' INT HUP; mkfifo result
        {shlex.join([*PAB, "show", "-"])} <result >/dev/null & exec 3>result
        sleep 0.5; kill -INT $!; kill -HUP $!; cat {RESULT} >&3; exec 3>&-; wait $!"""
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_ends_a_long_query() -> None:
    endless = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b"
    with subprocess.Popen(
        [*PAB, "query", endless, RESULT], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 60
        while len(os.listdir(f"/proc/{process.pid}/task")) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)  # DuckDB starts threads
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, b"")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["shwo"], 2, "No such command"),
        (["--nonsense"], 2, "No such option"),
        (["show"], 2, "Missing argument"),
        (["show", "/proc/absent"], 2, "/proc/absent"),
        (["export", RESULT], 2, "give --format"),
        (["query", "SELEKT", RESULT], 2, "Parser Error"),
        (["report", RESULT], 2, "say what to write"),
        (["compare", RESULT], 3, "give the two sides"),
        (["compare", "--nonsense"], 3, "No such option"),
        (["compare", RESULT, "--vs", "/proc/absent"], 3, "/proc/absent"),
        (["build", "--kdir", "/proc/absent"], 3, "no kernel tree"),
        (["vm", "/proc/absent"], 2, "does not exist"),
        (["kernels", "9.9"], 2, "9.9"),
    ],
)
def test_every_complaint_begins_alike(arguments: list[str], status: int, message: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stdout) == (status, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Error: " not in done.stderr.replace("Parser Error: ", "")


def test_a_fault_of_ours_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr("page_alloc_bench.analysis.results.load_all", broken)
    done = CliRunner().invoke(main, COMPARE)
    assert done.exit_code == 3
    assert "error: internal error: RuntimeError: on purpose\n" in done.stderr
    assert "Traceback" in done.stderr  # for the report


def test_a_disk_without_room_for_temporary_files_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "x"))

    monkeypatch.setattr("tempfile.mkdtemp", full)
    for arguments in (["build", "--kdir", str(tmp_path)], ["run", "--kdir", str(tmp_path)]):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 1
        assert re.match("error: .*no space left", done.stderr, re.IGNORECASE)
        assert "Traceback" not in done.stderr


def test_a_character_that_the_terminal_cannot_show_stops_nothing() -> None:
    done = subprocess.run(
        [*PAB, "show", RESULT],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_help_fits_into_80_columns(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"], env={"COLUMNS": "80"})
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_vm_offers_the_kernels_that_it_boots() -> None:
    text = " ".join(CliRunner().invoke(main, ["vm", "--help"]).stdout.split())
    offered = text.partition("What to boot: ")[2].partition(". [default")[0].split(", ")
    assert offered == [row.name for row in kernels.KERNELS if row.boots_roots]


def test_commands_are_summed_up_whole() -> None:
    done = CliRunner().invoke(main, ["--help"], env={"COLUMNS": "80"})
    assert "..." not in done.stdout.partition("Commands:")[2]
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("group", [[], ["store"], ["fleet"]])
def test_without_a_command_there_is_help_and_no_error(group: list[str]) -> None:
    code, told = shell([*PAB, *group], "")
    assert code == 2
    assert told.startswith(f"Usage: {' '.join(['page-alloc-bench', *group])} [OPTIONS] COMMAND")
    assert "error" not in told


@pytest.mark.parametrize("group", [[], ["store"], ["fleet"]])
@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_no_summary_of_a_command_is_cut(group: list[str], columns: str) -> None:
    done = CliRunner().invoke(main, [*group, "--help"], env={"COLUMNS": columns})
    assert done.exit_code == 0
    assert "..." not in done.stdout.partition("\nCommands:\n")[2]


@pytest.mark.parametrize(
    "command",
    [
        ["build", "--kdir", "."],
        ["build", "--kernel", "6.1"],
        ["ab", "a", "b"],
        ["ab", "--base", "6.1", "--new", "6.12", "--dir", "made"],
        ["fleet", "run", "a,", "--bundles", "/", "--store", "made"],
        ["report", RESULT, "-o", "report.html"],
    ],
)
def test_a_current_directory_that_is_gone_is_named(command: list[str], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd {gone}; rmdir {gone}; {shlex.join([*PAB, *command])}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode not in (0, 128)
    assert done.stderr == "error: the current directory was removed: No such file or directory\n"


@pytest.mark.parametrize("columns", ["0", ""])
def test_a_terminal_of_an_unknown_width_shows_all(columns: str) -> None:
    command = [*PAB, *COMPARE, "--format", "table"]
    printed = [
        subprocess.run(
            command,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "COLUMNS": width},
        ).stdout
        for width in (columns, "80")
    ]
    assert printed[0] == printed[1] != b""
