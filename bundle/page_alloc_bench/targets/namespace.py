# SPDX-License-Identifier: GPL-2.0-only
"""A user namespace in which an ordinary user is root, with as many users below as Debian has.

For what only root may do to files: give them owners. man 7 user_namespaces, man 5 subuid.
"""

from __future__ import annotations

import getpass
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from page_alloc_bench import installation
from page_alloc_bench.targets.process import TargetError, need, run

_USERS = "100000-165535"
# Switches that forbid such namespaces: their file, the value that forbids, the command against it.
_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


def command(argv: Sequence[str]) -> list[str]:
    """Return the command line that runs ARGV as root of a namespace; ARGV itself for root.

    In it this user is root, and the users below him are those that /etc/subuid gives him.
    """
    if os.geteuid() == 0:
        return list(argv)
    words = [need("unshare", "util-linux"), "--user", "--map-auto", "--map-root-user"]
    return [*words, "--", *argv]


def require() -> None:
    """Raise TargetError, with what to do, where an ordinary user gets no such namespace."""
    try:
        need("newuidmap", "uidmap")
    except TargetError as error:
        raise TargetError(f"{error}{_or_as_root()}") from error
    done = run(command(["true"]), check=False)
    if done.returncode != 0:
        raise TargetError(f"{_reason(done.stderr.strip())}{_or_as_root()}")


def remove(tree: Path) -> None:
    """Remove TREE with all below it, also of other owners in a namespace; what cannot go stays."""
    shutil.rmtree(tree, ignore_errors=True)
    if tree.exists() and os.geteuid() != 0:
        run(command(["rm", "-rf", "--", str(tree)]), check=False)


def _reason(said: str) -> str:
    """Return why there is no namespace, and the command that allows one."""
    for path, forbids, setting in _SWITCHES:
        file = Path(path)
        if file.is_file() and file.read_text().strip() == forbids:
            return (
                f"only root may make user namespaces on this host ({path} is {forbids}), and "
                f"without one only root can make a guest's files: sudo sysctl {setting}"
            )
    user = getpass.getuser()
    for table in ("/etc/subuid", "/etc/subgid"):
        if not _is_in(Path(table), user):
            return (
                f"{user} has no subordinate IDs in {table}, which the guest's files could belong "
                f"to: sudo usermod --add-subuids {_USERS} --add-subgids {_USERS} {user}"
            )
    return f"no user namespace can be made: {said}"


def _is_in(table: Path, user: str) -> bool:
    names = {user, str(os.getuid())}
    lines = table.read_text().splitlines() if table.is_file() else []
    return any(line.split(":")[0] in names for line in lines)


def _or_as_root() -> str:
    return f"\nor run this as root: {installation.as_root()}"
