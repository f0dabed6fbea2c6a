# SPDX-License-Identifier: GPL-2.0-only
"""What a built module says about itself."""

from __future__ import annotations

import io
from dataclasses import dataclass

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from page_alloc_bench.packager.errors import PackagerError

# ELF's name of a machine, and what uname -m says there.
MACHINES = {
    "EM_X86_64": "x86_64",
    "EM_AARCH64": "aarch64",
    "EM_386": "i686",
    "EM_RISCV": "riscv64",
    "EM_PPC64": "ppc64le",
    "EM_S390": "s390x",
    "EM_LOONGARCH": "loongarch64",
}


@dataclass(frozen=True)
class ModuleInfo:
    """The identity of a module; ``srcversion`` is empty where the kernel does not record it."""

    release: str
    vermagic: str
    machine: str
    compiler: str
    srcversion: str


def read(module: bytes) -> ModuleInfo:
    """Read the ELF file ``module``; raise PackagerError when it is not a kernel module."""
    try:
        elf = ELFFile(io.BytesIO(module))
    except ELFError as error:
        raise PackagerError(f"the built module is not an ELF file: {error}") from error
    info = dict(item.split("=", 1) for item in _strings(elf, ".modinfo") if "=" in item)
    vermagic = info.get("vermagic", "")
    if not vermagic:
        raise PackagerError("the built module has no vermagic, so that no kernel would load it")
    machine = str(elf["e_machine"])
    compilers = _strings(elf, ".comment")
    return ModuleInfo(
        release=vermagic.split()[0],
        vermagic=vermagic.strip(),
        machine=MACHINES.get(machine, machine.replace("EM_", "").lower()),
        compiler=compilers[0] if compilers else "",
        srcversion=info.get("srcversion", ""),
    )


def _strings(elf: ELFFile, section_name: str) -> list[str]:
    """Return the NUL-separated strings of a section, none when it does not exist."""
    section = elf.get_section_by_name(section_name)
    if section is None:
        return []
    return [part.decode(errors="replace") for part in section.data().split(b"\0") if part]
