# SPDX-License-Identifier: GPL-2.0-only
"""Run a command no longer than its owner lives: ``python3 with_owner.py COMMAND ARGUMENT…``.

stdin is a pipe whose other end only the owner holds. When the owner closes it, or dies in whatever
way, the command's whole process group is killed. The exit status is the command's, or that of a
shell for a signal. It imports only the standard library.
"""

import os
import select
import signal
import subprocess
import sys


def main(argv: list[str]) -> int:
    """Run ARGV until it ends or stdin does; return the exit status."""
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
    ended = os.pidfd_open(child.pid)
    ready, _, _ = select.select([ended, sys.stdin.fileno()], [], [])
    if ended not in ready:
        os.killpg(child.pid, signal.SIGKILL)
    status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
