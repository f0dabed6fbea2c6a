# SPDX-License-Identifier: GPL-2.0-only
"""The one list of guest roots, and how they are made.

A root is an ext4 image that no kernel's name stands in, so any kernel boots it. Guests use it
through a snapshot: it never changes once made. Editing its row or its init makes a new one.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from page_alloc_bench.resources import render
from page_alloc_bench.space import Room
from page_alloc_bench.targets import bootstrap, cache
from page_alloc_bench.targets.keys import Keys, get_keys
from page_alloc_bench.targets.process import TargetError

INIT = "/usr/local/sbin/guest-init"
_ROOM = Room(700, 12_000)  # an archive, unpacked, and the image
HOSTNAME = "page-alloc-bench"
READY = "guest: ready for ssh"  # what the root's init says on the console

_PACKAGES = ("openssh-server", "sudo", "kmod", "procps", "iproute2", "python3", "numactl")
_SSHD = """\
# Written by page-alloc-bench.
UsePAM {pam}
UseDNS no
PasswordAuthentication no
PermitRootLogin prohibit-password
# Under instruction counting the guest's clock leaps while it waits: no limit of time may bite.
LoginGraceTime 0
TCPKeepAlive no
# Tests run many commands at once over one connection.
MaxSessions 64
"""
# A host with systemd: login sessions, devices named by udev, and daemons that kill when memory is
# short. None of these runs until a test starts it, nor does anything that works by the clock.
# systemd-oomd is masked: to be disabled is not enough, for it is wanted by every user@.service.
_SYSTEMD_PACKAGES = (
    *("systemd-sysv", "libpam-systemd", "dbus", "udev", "systemd-oomd", "earlyoom", "nohang"),
    *("dbus-user-session", "psmisc"),
)
_SYSTEMD_HOOK = f"""\
chroot "$1" systemd-machine-id-setup
for unit in earlyoom nohang nohang-desktop; do
[ ! -e "$1"/lib/systemd/system/$unit.service ] || chroot "$1" systemctl disable $unit
done
chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
e2scrub_all.timer fstrim.timer getty@tty1.service serial-getty@ttyS0.service \
systemd-oomd.service systemd-oomd.socket
install -d "$1"/etc/systemd/system/ssh.service.d
printf '[Service]\\nExecStartPost=/bin/sh -c "echo {READY} >/dev/console"\\n' \
>"$1"/etc/systemd/system/ssh.service.d/guest.conf
"""


@dataclass(frozen=True)
class Init:
    """What process 1 of a root is: a template of the project, and what sshd and the tree need."""

    template: str
    pam: str = "no"
    hook: str = ""


TINY = Init("guest-init.sh.j2")
SYSTEMD = Init("guest-systemd.sh.j2", pam="yes", hook=_SYSTEMD_HOOK)


@dataclass(frozen=True)
class Root:
    """A guest root: a Debian suite and what is installed in it.

    ``size_mib`` bounds the image's file system; the image itself is sparse.
    """

    name: str
    suites: tuple[str, ...]
    packages: tuple[str, ...] = _PACKAGES
    arch: str = "amd64"
    size_mib: int = 2048
    init: Init = field(default=TINY, repr=False)  # its content counts for the key, see _key()


ROOTS = (
    Root("bullseye", ("bullseye", "bullseye-security")),
    Root("bookworm", ("bookworm", "bookworm-security")),
    Root("trixie", ("trixie", "trixie-security")),
    Root("sid", ("sid",)),
    Root(
        "bookworm-systemd",
        ("bookworm", "bookworm-security"),
        (*_PACKAGES, *_SYSTEMD_PACKAGES),
        init=SYSTEMD,
    ),
    Root(
        "trixie-systemd",
        ("trixie", "trixie-security"),
        (*_PACKAGES, *_SYSTEMD_PACKAGES),
        init=SYSTEMD,
    ),
)
DEFAULT = "bookworm"


def lookup(name: str) -> Root:
    """Return the row called NAME; the error lists the names there are."""
    for root in ROOTS:
        if root.name == name:
            return root
    raise TargetError(f"no root called {name!r}: there are {', '.join(r.name for r in ROOTS)}")


def image(root: Root | str = DEFAULT) -> Path:
    """Return the ext4 image of ROOT (a row or its name), made in the cache if need be."""
    row = lookup(root) if isinstance(root, str) else root
    keys = get_keys()
    directory = cache.entry(
        "roots",
        _key(row, keys),
        lambda temporary, _final: _build(row, keys, temporary),
        f"a guest root of Debian {row.name} (about a minute)",
        room=_ROOM,
    )
    return directory / "root.ext4"


def cached(name: str) -> bool:
    """Return whether image() would find the root called NAME in the cache."""
    return cache.has("roots", _key(lookup(name), get_keys()))


def _init(root: Root) -> str:
    return render(root.init.template, hostname=HOSTNAME, marker=READY)


def _sshd(root: Root) -> str:
    return _SSHD.format(pam=root.init.pam)


def _key(root: Root, keys: Keys) -> str:
    public = keys.login.with_suffix(".pub").read_text()
    digest = cache.digest(repr(root), _init(root), _sshd(root), public, _customize(root, Path("/")))
    return f"{root.name}-{digest}"


def _build(root: Root, keys: Keys, temporary: Path) -> None:
    """Make root.ext4 of ROOT in TEMPORARY."""
    debian = bootstrap.Debian(root.suites, root.packages, root.arch)
    with tempfile.TemporaryDirectory(prefix="pab-extra.", dir=temporary) as extra:
        _write_extra(root, Path(extra), keys)
        path = temporary / "root.ext4"
        bootstrap.image(debian, path, root.size_mib, _customize(root, Path(extra)))
        path.chmod(0o600)  # it holds the key that proves a guest to be one


def _write_extra(root: Root, extra: Path, keys: Keys) -> None:
    """Write the files that _customize() puts in place."""
    (extra / "init").write_text(_init(root))
    (extra / "sshd.conf").write_text(_sshd(root))
    (extra / "authorized_keys").write_text(keys.login.with_suffix(".pub").read_text())
    (extra / "host").write_text(keys.host.read_text())
    (extra / "host.pub").write_text(keys.host.with_suffix(".pub").read_text())


def _customize(root: Root, extra: Path) -> str:
    """Return the shell words that turn the bootstrapped tree ("$1") into a guest."""
    return f"""set -e
install -m 755 {extra}/init "$1"{INIT}
rm -f "$1"/etc/ssh/ssh_host_*
install -m 600 {extra}/host "$1"/etc/ssh/ssh_host_ed25519_key
install -m 644 {extra}/host.pub "$1"/etc/ssh/ssh_host_ed25519_key.pub
install -m 644 {extra}/sshd.conf "$1"/etc/ssh/sshd_config.d/guest.conf
# With no PAM sshd turns locked accounts ("!") away: "*" has no password either but is not locked.
chroot "$1" useradd --create-home --shell /bin/bash --password "*" bench
echo 'bench ALL=(ALL) NOPASSWD: ALL' >"$1"/etc/sudoers.d/bench
chmod 440 "$1"/etc/sudoers.d/bench
install -d -m 700 "$1"/root/.ssh
install -m 600 {extra}/authorized_keys "$1"/root/.ssh/authorized_keys
install -d -m 700 "$1"/home/bench/.ssh
install -m 600 {extra}/authorized_keys "$1"/home/bench/.ssh/authorized_keys
chroot "$1" chown -R bench:bench /home/bench/.ssh
echo {HOSTNAME} >"$1"/etc/hostname
echo '127.0.0.1 localhost {HOSTNAME}' >"$1"/etc/hosts
{root.init.hook}"""
