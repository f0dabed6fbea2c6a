# SPDX-License-Identifier: GPL-2.0-only
"""Hosts that are logged in to by SSH: sshds on this machine, each in namespaces of its own.

Each has its own name, /run, /var/tmp and users. The kernel is that of this machine.
"""

from __future__ import annotations

import functools
import os
import shlex
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from page_alloc_bench import resources
from waiting import eventually

_USERS = "root:x:0:0:root:/root:/bin/sh\nsshd:x:998:65534::/run/sshd:/bin/false\n"
_USERS += "user:x:12345:65534::/var/tmp:/bin/sh\n"
# The user of the key has no line in /etc/shadow.
_PAM = "account required pam_permit.so\nsession required pam_permit.so\n"
_SUDOERS = "user ALL=(ALL) NOPASSWD: ALL\n"
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {keys}/host
AuthorizedKeysFile /run/sshd/user.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""
_START = """set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount --bind {top}/passwd /etc/passwd
mount --bind {top}/var-tmp /var/tmp
mkdir -m 755 /run/sshd
install -m 644 {keys}/user.pub /run/sshd
hostname {name}
{sudo}
{greeting}
{more}
for python in {hidden}; do mount --bind {top}/nothing "$python"; done
for mark in {marks}; do : >/run/"$mark"; done
exec {personality} {sshd} -D -e -f {top}/config
"""
_OWN_NAMESPACES = ("unshare", "--mount", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child")
# Packages of Debian that hosts with sudo have.
_SUDO = """
for part in etc usr/bin usr/libexec; do
	[ ! -e "/$part" ] || mount -t overlay overlay -o "lowerdir={unpacked}/$part:/$part" "/$part"
done
mount --bind {top}/passwd /etc/passwd
mount --bind {top}/sudoers /etc/sudoers
mount --bind {top}/pam /etc/pam.d/sudo
"""
# As administrators do it, though sshd(8) says that it must print nothing.
_GREETING = """
mkdir -p /run/home/.ssh
echo 'echo "Welcome to host {1}! 6.1 x86_64"' >/run/home/.ssh/rc
"""


@functools.cache
def _unpacked() -> Path:
    """Return a directory with Debian's sshd and sudo, which are not installed but unpacked."""
    place = resources.cache_dir() / "tests/sshd"
    if not (place / "usr/bin/sudo").exists():
        place.mkdir(parents=True, exist_ok=True)
        fetch = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download"]
        subprocess.run([*fetch, "openssh-server", "libwrap0", "sudo"], cwd=place, check=True)
        for package in place.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, place], check=True)
    return place


def make_keys(place: Path) -> Path:
    """Make a key for all hosts and one for who logs in; return their directory."""
    place.mkdir()
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name]
        subprocess.run(command, check=True)
    return place


class SshHost:
    """A host of that name. marks: files made in its /run. python, sudo: whether it has them.

    greeting: whether it prints one before what each command prints. more: a script that begins it.
    """

    def __init__(
        self,
        name: str,
        place: Path,
        keys: Path,
        marks: Sequence[str] = (),
        *,
        python: bool = True,
        sudo: bool = False,
        greeting: bool = False,
        personality: str = "",
        more: str = "",
    ) -> None:
        self.name, self.port = name, free_port()
        self.top = place / name
        self.var_tmp = self.top / "var-tmp"
        self.var_tmp.mkdir(parents=True)
        self.var_tmp.chmod(0o1777)
        home = "/run/home" if greeting else "/root"
        (self.top / "passwd").write_text(_USERS.replace(":/root:", f":{home}:"))
        (self.top / "nothing").touch()
        (self.top / "config").write_text(_CONFIG.format(port=self.port, keys=keys))
        (self.top / "sudoers").write_text(_SUDOERS)
        (self.top / "pam").write_text(_PAM)
        unpacked = _unpacked()
        library = unpacked / "usr/lib/x86_64-linux-gnu"
        has_sudo = _SUDO.format(top=self.top, unpacked=unpacked) if sudo else ""
        script = _START.format(
            top=shlex.quote(str(self.top)), name=name, keys=keys, sudo=has_sudo,
            sshd=unpacked / "usr/sbin/sshd", personality=personality,
            greeting=_GREETING if greeting else "", more=more,
            marks=shlex.join(marks), hidden="" if python else shlex.join(_pythons()),
        )  # fmt: skip
        self.log = self.top / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*_OWN_NAMESPACES, "sh", "-c", script],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(library)},
            )  # fmt: skip
        assert eventually(lambda: "listening" in self.log.read_text()), self.log.read_text()

    def left(self) -> list[str]:
        """Return what is in its /var/tmp."""
        return sorted(os.listdir(self.var_tmp))

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    """Return a port on which nobody listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _pythons() -> list[str]:
    """Return every Python that a login on this machine finds."""
    found = [
        path.resolve()
        for directory in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")
        for path in Path(directory).glob("python3*")
    ]
    return sorted({str(path) for path in found if path.is_file()})
