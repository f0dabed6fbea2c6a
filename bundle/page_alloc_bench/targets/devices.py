# SPDX-License-Identifier: GPL-2.0-only
"""Which disks and networks of QEMU a kernel has drivers for.

Virtio comes first. The others serve kernels such as x86_64_defconfig's, which has no virtio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.targets.modules import Modules


@dataclass(frozen=True)
class Device:
    """A device that a guest can have.

    ``name``: what people read. ``drivers``: the modules that it needs. ``arguments``: of QEMU, for
    one that hangs on {id}, the {number}th of its kind. ``once``: what QEMU needs besides, for all
    of a kind. ``node``: where the kernel has such disks, as a pattern of the shell. ``arch`` is
    Debian's name of the only architecture that has it, "" for all.
    """

    name: str
    drivers: tuple[str, ...]
    arguments: str
    once: tuple[str, ...] = ()
    node: str = ""
    arch: str = ""


_IDE = "ide-hd,drive={id},bus=%s.{number}"
# In the order of preference.
DISKS = (
    Device(
        "virtio-blk", ("virtio_pci", "virtio_blk"), "virtio-blk-pci,drive={id}", node="/dev/vd?"
    ),
    Device("nvme", ("nvme",), "nvme,drive={id},serial={id}", node="/dev/nvme?n1"),
    Device("ahci", ("ahci", "sd_mod"), _IDE % "ahci", ("-device", "ahci,id=ahci"), node="/dev/sd?"),
    # The board has it: nothing is to be added.
    Device("piix", ("ata_piix", "sd_mod"), _IDE % "ide", node="/dev/sd?", arch="amd64"),
)
NETWORKS = (
    Device("virtio-net", ("virtio_pci", "virtio_net"), "virtio-net-pci,netdev={id},romfile="),
    Device("e1000", ("e1000",), "e1000,netdev={id},romfile="),
    Device("e1000e", ("e1000e",), "e1000e,netdev={id},romfile="),
    Device("rtl8139", ("8139cp",), "rtl8139,netdev={id},romfile="),
)
VIRTIO_DISK, VIRTIO_NETWORK = DISKS[0], NETWORKS[0]


def fit(devices: Sequence[Device], modules: Modules, arch: str) -> Device | None:
    """Return the first of DEVICES that a kernel of ARCH with MODULES can drive; None if none."""
    for device in devices:
        if device.arch in ("", arch) and modules.has(device.drivers):
            return device
    return None


def names(devices: Sequence[Device], arch: str) -> str:
    """Return how a person reads which of DEVICES there are for ARCH."""
    return ", ".join(device.name for device in devices if device.arch in ("", arch))


def disks(device: Device, images: Sequence[tuple[str, Path, str]]) -> list[str]:
    """Return QEMU's arguments for disks on DEVICE.

    IMAGES: for each its name, a raw image, and one more option of -drive's, like snapshot=on.
    """
    arguments = list(device.once)
    for number, (name, image, option) in enumerate(images):
        drive = f"if=none,id={name},file={image},format=raw,{option}"
        arguments += ["-drive", drive]
        arguments += ["-device", device.arguments.format(id=name, number=number)]
    return arguments
