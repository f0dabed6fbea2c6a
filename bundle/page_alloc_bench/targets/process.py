# SPDX-License-Identifier: GPL-2.0-only
"""The one place where targets run other programs, so that every failure reads the same.

A failed command always says which command, how it ended, and the last lines it wrote: what a person
needs to go on without running it again by hand.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_TAIL_LINES = 20


class TargetError(RuntimeError):
    """Something about a target failed; the text is one a person can act on."""


class UsageError(TargetError):
    """What the user asked for makes no sense; the command's exit status is 2."""


class CommandError(TargetError):
    """A program could not be started, failed, or ran out of time.

    ``returncode`` is the program's exit status, negative for a signal, None if it never ended.
    """

    def __init__(self, argv: Sequence[str], returncode: int | None, why: str, output: str):
        self.argv = list(argv)
        self.returncode = returncode
        self.output = output
        text = f"{' '.join(argv)[:300]}: {why}"
        last = tail(output)
        super().__init__(f"{text}\n{last}" if last else text)


def command_words(command: str, *, option: str) -> list[str]:
    """Return the words of a command that can be started. Raises UsageError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{option}: {command}: {error}") from error
    if not words or shutil.which(words[0]) is None:
        raise UsageError(
            f"{option}: {command!r} is not a program here: install it, or give its path"
        )
    return words


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """Return the last LINES lines of TEXT, without the blank ones."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def need(tool: str, package: str) -> str:
    """Return the path of TOOL; say which Debian PACKAGE has it if it is not installed."""
    path = shutil.which(tool) or shutil.which(tool, path="/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        raise TargetError(f"{tool} is not installed: apt-get install {package}")
    return path


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout: float | None = None,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ARGV to its end and return its captured text; STDIN is given to it, or nothing is.

    TIMEOUT is in seconds. Raises CommandError when the program cannot start, when TIMEOUT passes,
    and, if CHECK, when the exit status is not 0.
    """
    try:
        done = subprocess.run(
            argv,
            check=False,
            timeout=timeout,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
            env=env,
        )
    except OSError as error:
        raise CommandError(argv, None, f"cannot start: {error.strerror}", "") from error
    except subprocess.TimeoutExpired as error:
        # The captured text of a timed-out run is bytes even in text mode.
        parts = (error.stdout, error.stderr)
        output = "".join(
            p.decode(errors="replace") if isinstance(p, bytes) else p or "" for p in parts
        )
        raise CommandError(argv, None, f"no end after {timeout:g} s", output) from error
    if check and done.returncode != 0:
        raise CommandError(
            argv, done.returncode, describe(done.returncode), done.stdout + done.stderr
        )
    return done


def describe(returncode: int) -> str:
    """Say in words how a program ended."""
    if returncode < 0:
        return f"killed by signal {-returncode}"
    return f"exit status {returncode}"
