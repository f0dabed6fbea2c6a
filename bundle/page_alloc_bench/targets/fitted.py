# SPDX-License-Identifier: GPL-2.0-only
"""A kernel to boot, with the devices of QEMU that it can drive, and how its guest is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.targets import devices, kconfig, modules
from page_alloc_bench.targets.devices import DISKS, NETWORKS, Device
from page_alloc_bench.targets.kernels import FetchedKernel
from page_alloc_bench.targets.modules import Modules
from page_alloc_bench.targets.process import UsageError

# How a guest is reached, the one that a kernel needs most for first.
SSH, DISK, SERIAL = "ssh", "disk", "serial"
REACHES = (SSH, DISK, SERIAL)
AUTO = "auto"


@dataclass(frozen=True)
class Fitted:
    """What a guest boots.

    ``release`` is what ``uname -r`` will say, ``arch`` Debian's name of the architecture. ``disk``
    and ``network``: what it can drive, None for nothing. ``config``: its options, None where they
    are not known.
    """

    release: str
    arch: str
    image: Path
    modules: Modules
    disk: Device | None = None
    network: Device | None = None
    config: Mapping[str, str] | None = None

    def lacks(self, reach: str) -> list[str]:
        """Return what this kernel lacks to be reached by REACH, a phrase each."""
        found = []
        if reach in (SSH, DISK) and self.disk is None:
            found.append(f"a disk ({devices.names(DISKS, self.arch)})")
        if reach == SSH:
            if self.network is None:
                found.append(f"a network ({devices.names(NETWORKS, self.arch)})")
            if not self.modules.has(("ext4",)):
                found.append("CONFIG_EXT4_FS")
            if self.arch != "amd64":
                found.append("a Debian root for its architecture")
        needs = {SSH: kconfig.SSH, SERIAL: kconfig.SERIAL}.get(reach, ())
        if self.config is not None:
            found += [f"CONFIG_{n.symbol}" for n in kconfig.lacking(self.config, self.arch, needs)]
        return found

    def choose(self, asked: str = AUTO) -> str:
        """Return how a guest with this kernel is reached: as ASKED, or the first way that works.

        Raises UsageError, with what it lacks, where that cannot be.
        """
        ways = REACHES if asked == AUTO else (asked,)
        for way in ways:
            if not self.lacks(way):
                return way
        reasons = "; ".join(f"by {way} it lacks {', '.join(self.lacks(way))}" for way in ways)
        raise UsageError(
            f"a guest with the kernel {self.release} cannot be reached: {reasons}. "
            "`page-alloc-bench kconfig` prints what a kernel needs"
        )


def fit(
    release: str,
    arch: str,
    image: Path,
    those: Modules,
    config: Mapping[str, str] | None = None,
) -> Fitted:
    """Return a kernel with the first of each kind of device that it has drivers for."""
    disk, network = (devices.fit(kind, those, arch) for kind in (DISKS, NETWORKS))
    return Fitted(release, arch, image, those, disk, network, config)


def of_fetched(fetched: FetchedKernel) -> Fitted:
    """Return a kernel of the list."""
    those = modules.installed(fetched.modules_dir)
    return fit(fetched.release, fetched.kernel.arch, fetched.vmlinuz, those)
