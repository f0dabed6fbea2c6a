# SPDX-License-Identifier: GPL-2.0-only
"""The ssh keys of the throwaway guests: one pair to log in with, one that the guests show.

Both live in the user's cache only. Because the guest's own key is known in advance, ssh checks it
like any host's: nobody else who happens to listen on the port is taken for the guest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.targets import cache
from page_alloc_bench.targets.process import need, run

HOST_ALIAS = "page-alloc-bench-guest"


@dataclass(frozen=True)
class Keys:
    """Paths of the private keys (mode 0600; ``.pub`` beside each) and of the known_hosts file."""

    login: Path
    host: Path
    known_hosts: Path


def get_keys() -> Keys:
    """Return the keys from the cache, made there the first time."""
    directory = cache.entry("ssh", "keys", _generate, "ssh keys for the guests")
    return Keys(directory / "login", directory / "host", directory / "known_hosts")


def _generate(temporary: Path, _final: Path) -> None:
    temporary.chmod(0o700)
    for name in ("login", "host"):
        path = str(temporary / name)
        keygen = need("ssh-keygen", "openssh-client")
        run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "page-alloc-bench guest", "-f", path])
    public = (temporary / "host.pub").read_text()
    (temporary / "known_hosts").write_text(f"{HOST_ALIAS} {public}")
