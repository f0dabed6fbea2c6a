# SPDX-License-Identifier: GPL-2.0-only
"""A shell of root on a host, by the user's ssh client and configuration."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from page_alloc_bench.runner.bundle_file.kbuild_environment import environment
from page_alloc_bench.targets.kept import Kept
from page_alloc_bench.targets.process import TargetError, UsageError, command_words, tail

_FAILED = 255  # exit status of ssh where there is no connection
# The user's own words come first, and ssh takes the first of each.
_OPTIONS = {
    "BatchMode": "yes",
    "ControlMaster": "auto",
    "ControlPersist": "60",
    "ConnectTimeout": "30",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
}
_LIMIT_S = 120.0
_COPY_S = 1800.0


class UnreachableError(TargetError):
    """The host does not answer, or the connection to it broke."""


@dataclass(frozen=True)
class Answer:
    """What came of a script: its exit status, and what it wrote."""

    code: int
    out: str
    err: str = ""

    @property
    def said(self) -> str:
        """Return its last words."""
        return tail(self.err or self.out, 5)


class Shell(Protocol):
    """A host that runs scripts as root."""

    @property
    def host(self) -> str:
        """Return what the user calls it."""

    def run(self, script: str, *, timeout: float = _LIMIT_S) -> Answer:
        """Have root's POSIX shell run a script. Raises UnreachableError."""

    def put(self, path: Path, remote: str) -> None:
        """Make a file of this host the file REMOTE there, of mode 0600. Raises TargetError."""

    def unpack(self, directory: Path, remote: str) -> None:
        """Copy what is in DIRECTORY into the directory REMOTE there. Raises TargetError."""

    def forget(self) -> None:
        """Make a new connection the next time: the host restarts."""


def checked(shell: Shell, script: str, what: str, *, timeout: float = _LIMIT_S) -> str:
    """Return what a script prints. Raises TargetError that says WHAT could not be done."""
    answer = shell.run(script, timeout=timeout)
    if answer.code:
        raise TargetError(
            f"{shell.host}: {what} failed (exit status {answer.code})\n{answer.said}".rstrip()
        )
    return answer.out


class Ssh:
    """A host by ssh; a context manager that closes the connection.

    Where this process is killed, the connection ends by itself a minute later.

    command: the client with options of the user's, such as "ssh -J gate". Who is not root there
    uses sudo. Raises UsageError where neither is possible, UnreachableError where nobody answers.
    """

    def __init__(self, host: str, command: str = "ssh") -> None:
        self.host = host
        words = command_words(command, option="--ssh")
        if host.startswith("-") or not host:
            raise UsageError(f"--host: {host!r} is not the name of a host")
        self._kept = Kept("ssh")
        self._master = self._kept.path / "master"
        options = {**_OPTIONS, "ControlPath": str(self._master)}
        self._words = [*words, *(f"-o{name}={value}" for name, value in options.items()), "-T"]
        self._root = ""

    def __enter__(self) -> Ssh:
        """Find out who the user is there."""
        try:
            answer = self._run("sh -s", "id -u; sudo -n true", _LIMIT_S)
        except BaseException:
            self.close()
            raise
        if answer.out.strip() != "0":
            self._root = "sudo -n "
            if answer.code:
                self.close()
                raise UsageError(
                    f"{self.host}: root is needed there: give --host root@..., or allow this user "
                    f"sudo without a password; sudo says: {answer.said}"
                )
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def run(self, script: str, *, timeout: float = _LIMIT_S) -> Answer:
        """Have root's shell run a script. Raises UnreachableError."""
        return self._run(f"{self._root}sh -s", script, timeout)

    def put(self, path: Path, remote: str) -> None:
        """Make a file of this host the file REMOTE there, of mode 0600. Raises TargetError."""
        script = f"umask 077; cat >{shlex.quote(remote)}"
        with path.open("rb") as file:
            self._stream(f"{self._root}sh -c {shlex.quote(script)}", file, str(path))

    def unpack(self, directory: Path, remote: str) -> None:
        """Copy what is in DIRECTORY into the directory REMOTE there. Raises TargetError."""
        # Links to the tree that it was built in mean nothing there.
        words = ["tar", "-C", str(directory), "--exclude=./build", "--exclude=./source"]
        with tempfile.TemporaryFile() as said:
            with subprocess.Popen(
                [*words, "--owner=0", "--group=0", "-cf", "-", "."],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                env=environment(),
            ) as tar:
                there = f"{self._root}tar -C {shlex.quote(remote)} --no-overwrite-dir -xf -"
                try:
                    self._stream(there, tar.stdout, str(directory))
                finally:
                    tar.kill()
            if tar.returncode:
                said.seek(0)
                why = tail(said.read().decode(errors="replace"), 3)
                raise TargetError(f"{directory} cannot be read: {why}")

    def forget(self) -> None:
        """Make a new connection the next time: the host restarts."""
        with suppress(subprocess.TimeoutExpired, OSError):
            subprocess.run(
                [*self._words, "-O", "exit", self.host],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=10,
            )
        with suppress(OSError):
            self._master.unlink()

    def close(self) -> None:
        """Close the connection."""
        self.forget()
        self._kept.remove()

    def _run(self, command: str, script: str, timeout: float) -> Answer:
        try:
            done = subprocess.run(
                [*self._words, self.host, command],
                # Read whole before it begins: what it starts reads nothing of it.
                input=f"{{\n{script}\n}} </dev/null\n",
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            self.forget()
            raise UnreachableError(f"{self.host}: no answer after {timeout:g} s") from error
        if done.returncode == _FAILED:
            self.forget()
            why = tail(done.stderr, 3) or "the connection broke"
            raise UnreachableError(f"{self.host} cannot be reached by ssh: {why}")
        return Answer(done.returncode, done.stdout, done.stderr)

    def _stream(self, command: str, stream: object, what: str) -> None:
        """Have a command there read a stream."""
        try:
            done = subprocess.run(
                [*self._words, self.host, command],
                stdin=stream,  # type: ignore[call-overload]
                capture_output=True,
                check=False,
                timeout=_COPY_S,
            )
        except subprocess.TimeoutExpired as error:
            self.forget()
            raise UnreachableError(f"{self.host}: {what} was not copied in time") from error
        if done.returncode:
            said = tail(done.stderr.decode(errors="replace"), 3)
            raise TargetError(f"{self.host}: {what} cannot be copied there: {said}")
