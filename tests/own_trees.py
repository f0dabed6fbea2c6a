# SPDX-License-Identifier: GPL-2.0-only
"""Kernel trees and modules of a user's own, as far as they are looked at before a boot."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from page_alloc_bench.targets import kconfig

RELEASE = "6.12.1-own"
NEEDS = (*kconfig.NEEDED, *kconfig.SERIAL, *kconfig.SSH, *kconfig.WANTED)
# What x86_64_defconfig has built in.
DEFCONFIG = ("drivers/ata/ahci.ko", "drivers/scsi/sd_mod.ko", "drivers/ata/ata_piix.ko",
             "drivers/net/ethernet/intel/e1000/e1000.ko", "fs/ext4/ext4.ko")  # fmt: skip


def image(release: str = RELEASE, *, bits: int = 64) -> bytes:
    """The head of a bzImage: Documentation/arch/x86/boot.rst."""
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x100).to_bytes(2, "little")
    head[0x236] = 1 if bits == 64 else 0
    head[0x300:] = f"{release} (builder@localhost) #1 SMP".encode().ljust(0x100, b"\0")
    return bytes(head)


ARM_IMAGE = (
    bytes(0x38) + b"ARM\x64" + bytes(0x400) + f"Linux version {RELEASE} (builder@x)\n".encode()
)


def config_of(arch: str = "x86", **changed: str) -> str:
    """A .config with all that is needed, but for what is CHANGED."""
    options = {need.symbol: str(need.least or "y") for need in NEEDS}
    options |= {"DEFAULT_HOSTNAME": '"(none)"', "INITRAMFS_SOURCE": '""', "KASAN": "n"} | changed
    lines = [f"CONFIG_{name}={value}" for name, value in options.items() if value != "n"]
    lines += [f"# CONFIG_{name} is not set" for name, value in options.items() if value == "n"]
    return f"#\n# Linux/{arch} 6.12.1 Kernel Configuration\n#\n" + "\n".join(lines) + "\n"


class Tree:
    """A built tree, as far as it is looked at."""

    def __init__(self, top: Path, arch: str = "x86", **changed: str) -> None:
        self.top = top
        self.write(".config", config_of(arch, **changed))
        # scripts/kconfig/confdata.c: what is off is not in it, and strings are not quoted.
        lines = [line for line in config_of(arch, **changed).splitlines() if line[:1] != "#"]
        built = "".join(line.replace('"', "") + "\n" for line in lines)
        self.write("include/config/auto.conf", built)
        self.write("include/config/kernel.release", RELEASE + "\n")
        self.write("modules.builtin", "".join(f"kernel/{name}\n" for name in DEFCONFIG))
        self.write("modules.order", "")
        self.image = top / ("arch/arm64/boot/Image" if arch == "arm64" else "arch/x86/boot/bzImage")
        self.write(str(self.image.relative_to(top)), ARM_IMAGE if arch == "arm64" else image())

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


def module(name: str, *depends: str) -> bytes:
    """A module, as far as it is looked at."""
    source = f"""__attribute__((section(".modinfo"))) char a[] = "depends={",".join(depends)}";
__attribute__((section(".modinfo"))) char b[] = "name={name}";"""
    with tempfile.NamedTemporaryFile(suffix=".o") as file:
        argv = ["gcc", "-x", "c", "-c", "-o", file.name, "-"]
        subprocess.run(argv, input=source.encode(), check=True)
        return Path(file.name).read_bytes()
