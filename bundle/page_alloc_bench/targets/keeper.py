# SPDX-License-Identifier: GPL-2.0-only
"""Keep one program, such as QEMU, no longer than its owner lives, and leave nothing of it behind.

Run as a program: ``python3 keeper.py SCRATCH``, with a pipe on stdin whose other end only the owner
holds. It starts before SCRATCH is made, and is told over stdin what to start: a line with the
number of bytes that follow, and its command line, a NUL after each word. When the owner closes the
pipe, or dies in whatever way, the program is killed with its process group, and SCRATCH removed.
The program dies with the keeper too. When it ends by itself, its wait status is written to
SCRATCH/exit and SCRATCH stays until the owner has looked at it. What it writes is in
SCRATCH/output.

It imports only the standard library, and little of it: it starts once for every guest.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys

OUTPUT = "output"
_PR_SET_PDEATHSIG = 1


def main(scratch: str) -> int:
    """Run what stdin says until it ends or stdin does; return the exit status for the shell."""
    # A terminal's Ctrl-C is the owner's business: it closes the pipe when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    argv = _told()
    if argv:
        _keep(scratch, argv)
    shutil.rmtree(scratch, ignore_errors=True)
    return 0


def _told() -> list[str]:
    """Return the command line that the owner sends; nothing if it ends before."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stream:
        line = stream.readline()
        size, content = int(line) if line.endswith(b"\n") else 0, b""
        while len(content) < size:
            more = stream.read(size - len(content))
            if not more:
                return []
            content += more
    return [os.fsdecode(word) for word in content.split(b"\0")[:-1]]


def _keep(scratch: str, argv: list[str]) -> None:
    """Run ARGV until it ends, and then wait for the owner to have looked, or until stdin ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(libc, keeper, scratch, argv)
    pidfd = os.pidfd_open(pid)
    ready, _, _ = select.select([pidfd, sys.stdin.fileno()], [], [])
    if pidfd in ready:
        _, status = os.waitpid(pid, 0)
        _write(scratch, "exit", str(os.waitstatus_to_exitcode(status)))
        select.select([sys.stdin.fileno()], [], [])
    else:
        with contextlib.suppress(ProcessLookupError):  # it has no group of its own yet
            os.killpg(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _become(libc: ctypes.CDLL, keeper: int, scratch: str, argv: list[str]) -> None:
    """Turn this child into ARGV, bound to die with the keeper."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.setpgid(0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == keeper:
            null = os.open(os.devnull, os.O_RDWR)
            log = os.open(f"{scratch}/{OUTPUT}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for source, target in ((null, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            _write(scratch, "pid", str(os.getpid()))
            os.execvp(argv[0], argv)  # noqa: S606 (QEMU, no shell)
    finally:
        os._exit(127)


def _write(scratch: str, name: str, text: str) -> None:
    """Make SCRATCH/NAME appear whole."""
    temporary = f"{scratch}/.{name}"
    with open(temporary, "w") as file:
        file.write(text)
    os.rename(temporary, f"{scratch}/{name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
