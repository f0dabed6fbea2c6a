# SPDX-License-Identifier: GPL-2.0-only
"""Clean up after a runner that was killed before it could do so itself.

The watchdog is a forked child that sleeps at the read end of a pipe. It learns there what would
have to be undone (`expect`) and that nothing has to be any more (`dismiss`). The end of the pipe
without a dismissal means that the runner is gone.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from collections.abc import Collection
from contextlib import suppress

from page_alloc_bench.runner.kernel import log
from page_alloc_bench.runner.module import loading

from . import descriptors, reap, title
from .scratch import remove_tree

_RELEASE_S = 600.0  # a host that is out of memory is slow to close a session
_GROUP_S = 0.5
_READY_S = 10.0
_NICKNAME = "pab-watchdog"  # TASK_COMM_LEN is 16
_IGNORED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGPIPE,
    signal.SIGTSTP,
)

MODULE = "module"
TREE = "tree"
FILE = "file"
GROUP = "group"
_BYE = "bye"


class Watchdog:
    """The runner's handle on its watchdog. Start it early: it shares memory with what forked it."""

    def __init__(self, kept_fds: Collection[int] = ()) -> None:
        """Fork the watchdog; it holds kept_fds open until everything is clean."""
        gc.freeze()  # or the first collection of either process would unshare most pages
        reader, self._writer = os.pipe()
        ready, say_ready = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _guard(reader, say_ready, {reader, *kept_fds})
            finally:
                os._exit(1)
        os.close(reader)
        os.close(say_ready)
        # What ends the two of us together until then leaves nothing that is to be cleaned up.
        select.select([ready], [], [], _READY_S)
        os.close(ready)

    def expect(self, kind: str, name: str) -> bool:
        """Have name undone should this process die.

        That is: unload a MODULE, remove a TREE or a FILE, kill the process GROUP of that number.

        To be called before the thing is made. Returns False if the watchdog itself is gone.
        """
        return self._tell(f"{kind} {name}")

    def forget(self, kind: str, name: str) -> bool:
        """Take back an expectation. Returns False if the watchdog itself is gone."""
        return self._tell(f"-{kind} {name}")

    def dismiss(self) -> None:
        """Say that all is clean, and wait until the watchdog has gone. May be called again.

        One that does not go, as it is stopped, is killed: there is nothing left for it to do.
        """
        if self._writer < 0:
            return
        self._tell(_BYE)
        os.close(self._writer)
        self._writer = -1
        if not reap.ended(self.pid):
            os.kill(self.pid, signal.SIGKILL)
            reap.ended(self.pid)

    def _tell(self, line: str) -> bool:
        assert "\n" not in line
        try:
            os.write(self._writer, os.fsencode(line + "\n"))
        except BrokenPipeError:
            return False
        return True


def _guard(reader: int, say_ready: int, kept_fds: set[int]) -> None:
    """Be the watchdog; does not return."""
    for signum in _IGNORED:
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.setsid()
    os.chdir("/")
    with suppress(OSError):  # without /proc/self/mem it can be found by the run's words
        title.set_title(_NICKNAME)
    os.write(say_ready, b".")
    _leave_descriptors(kept_fds)
    expected = _listen(reader)
    if expected is not None:
        clean(expected)
    os._exit(0)


def _leave_descriptors(kept_fds: set[int]) -> None:
    """Close all but kept_fds, so that nobody waits for output from us: sshd would."""
    descriptors.close_all_but(kept_fds)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        if fd not in kept_fds:
            os.dup2(null, fd)
    if null > 2:
        os.close(null)


def _listen(reader: int) -> list[tuple[str, str]] | None:
    """Return what the runner left undone, oldest first; None if it said goodbye."""
    expected: list[tuple[str, str]] = []
    rest = b""
    while True:
        data = os.read(reader, 4096)
        if not data:
            return expected
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            kind, _, name = os.fsdecode(line).partition(" ")
            if kind == _BYE:
                return None
            if kind.startswith("-"):
                expected.remove((kind[1:], name))
            else:
                expected.append((kind, name))


def clean(expected: list[tuple[str, str]]) -> None:
    """Undo what is expected, newest first; one failure does not stop the rest."""
    for kind, name in reversed(expected):
        _undo(kind, name)


def _undo(kind: str, name: str) -> None:
    undo = {MODULE: _unload, TREE: remove_tree, FILE: _remove_file, GROUP: _kill_group}
    try:
        undo[kind](name)
    except Exception as error:  # reported, and the rest still undone
        complain(f"cannot clean up {kind} {name}: {error}")


def _unload(name: str) -> None:
    """Unload the module as soon as the dead runner's session is closed."""
    deadline = time.monotonic() + _RELEASE_S
    loading.unload(name, deadline)


def _remove_file(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _kill_group(number: str) -> None:
    """Kill the group, and give what it was writing a moment to be there to be removed."""
    try:
        os.killpg(int(number), signal.SIGKILL)
        time.sleep(_GROUP_S)
    except ProcessLookupError:
        return


def complain(message: str) -> None:
    """Leave word in the kernel log, the only place left that anybody reads."""
    log.say(f"page-alloc-bench: {message}")
