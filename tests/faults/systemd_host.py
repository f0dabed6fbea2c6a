# SPDX-License-Identifier: GPL-2.0-only
"""Two guests with systemd as process 1, udev, logind and sshd.

On one root types, on the other an ordinary user with sudo.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import lab
from faults.advised import BENCH
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import building, kernels
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

DRIVERS = ("softdog", "zram", "lzo_rle")  # zram asks for the last by the name of an algorithm


@dataclass(frozen=True)
class Host:
    """A guest, and who types there."""

    guest: Guest
    user: str

    @property
    def sudo(self) -> str:
        return "" if self.user == "root" else "sudo "

    def type(self, line: str, *, check: bool = False) -> subprocess.CompletedProcess[str]:
        return self.guest.run(line, user=self.user, check=check, timeout=PATIENCE_S)


HOSTS = {
    "bookworm": ("bookworm-systemd", "6.1", "root"),
    "trixie": ("trixie-systemd", "6.12", "bench"),
}


@pytest.fixture(scope="module", params=HOSTS.values(), ids=HOSTS)
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    root, name, user = request.param
    kernel = kernels.fetch(name)
    path = tmp_path_factory.mktemp(root) / "bench.run"
    tree = building.tree_request(kernel)
    build(BuildRequest(**vars(tree), output=path), progress=lambda _message: None)
    with Guest(kernel=kernel, cpus=2, nodes=2, memory="512M", root=root) as guest:
        guest.copy_to(path, BENCH)
        guest.copy_to(lab.kernel_module(kernel, "kmod"), "/opt/")
        lab.give_drivers(guest, *DRIVERS)
        guest.run("chmod 755 /opt /opt/bench.run")
        yield Host(guest, user)
        assert "WARNING" not in guest.dmesg()
