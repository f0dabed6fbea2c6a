# SPDX-License-Identifier: GPL-2.0-only
"""Copies of a host's kernels where its EFI firmware finds them: it reads no file system but FAT.

ESP/EFI/page-alloc-bench/RELEASE/    vmlinuz.efi and initrd
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from page_alloc_bench.targets.host.facts import PATH, Facts, HostKernel
from page_alloc_bench.targets.host.shell import Shell, checked
from page_alloc_bench.targets.process import TargetError, UsageError

_DIRECTORY = "EFI/page-alloc-bench"
_IMAGE, _INITRD = "vmlinuz.efi", "initrd"
_LONG_S = 1800.0
_NO_STUB = 4
_SHELL = f"""
drop() {{
    rm -f "$place/$1/{_IMAGE}" "$place/$1/{_INITRD}"
    [ ! -d "$place/$1" ] || rmdir "$place/$1" || exit
    rmdir "$place" 2>/dev/null  # where it is the last
}}
each() {{ kernels | while read -r release image initrd; do "$@" || exit; done; }}
"""
# arch/x86/boot/header.S, arch/arm64/kernel/efi-header.S: an image with the stub begins with MZ.
# FAT takes two names that differ in their case for one, so all is compared at the end.
_COPY = f"""
has_stub() {{ [ "$(head -c 2 "$image")" = MZ ] || {{ echo "$release"; exit {_NO_STUB}; }}; }}
put() {{ cmp -s "$1" "$2" || cp "$1" "$2"; }}
files() {{
    "$@" "$image" "$place/$release/{_IMAGE}" &&
        {{ [ ! "$initrd" ] || "$@" "$initrd" "$place/$release/{_INITRD}"; }}
}}
copy() {{ mkdir -p "$place/$release" && files put || {{ drop "$release"; sync; exit 1; }}; }}
each has_stub || exit
for old in "$place"/*; do
    kernels | cut -d' ' -f1 | grep -qxF -e "${{old##*/}}" || drop "${{old##*/}}"
done
each copy && sync && each files cmp
"""
_REMOVE = """
[ -d "$place" ] || exit 0
for old in "$place"/*; do
    [ ! -d "$old" ] || echo "${old##*/}"
    drop "${old##*/}"
done
[ ! -d "$place" ] || rmdir "$place" || exit
sync
"""


def place(facts: Facts) -> str:
    """Return the directory of the copies on the host."""
    return f"{facts['efi_esp']}/{_DIRECTORY}"


def loader(kernel: HostKernel) -> str:
    """Return the path of a kernel's copy as the firmware has it."""
    return _path(kernel, _IMAGE)


def initrd_word(kernel: HostKernel) -> str:
    """Return the word by which a kernel's EFI stub loads its initramfs; "" where it has none."""
    return f"initrd={_path(kernel, _INITRD)}" if kernel.initrd else ""


def _path(kernel: HostKernel, name: str) -> str:
    return f"/{_DIRECTORY}/{kernel.release}/{name}".replace("/", "\\")


def copy(shell: Shell, facts: Facts, kernels: Sequence[HostKernel]) -> None:
    """Copy these kernels, and remove other copies of ours.

    Raises UsageError for one without EFI stub, TargetError where they cannot be copied.
    """
    every = dict.fromkeys(kernels)
    lines = "".join(f"{each.release} {each.image} {each.initrd}\n" for each in every)
    script = f"{_begin(facts)}kernels() {{\ncat <<'END'\n{lines}END\n}}\n{_SHELL}{_COPY}"
    answer = shell.run(script, timeout=_LONG_S)
    if answer.code == _NO_STUB:
        raise UsageError(
            f"{answer.out.strip()} has no EFI stub, by which --boot efi starts it: build it with "
            "CONFIG_EFI_STUB=y, or use --boot kexec"
        )
    if answer.code:
        raise TargetError(
            f"{shell.host}: to copy the kernels to {place(facts)} failed: make room there, or use "
            f"--boot kexec\n{answer.said}"
        )


def remove(shell: Shell, facts: Facts) -> list[str]:
    """Remove all copies of ours; return their releases. Raises TargetError."""
    what = f"to remove {place(facts)}"
    return checked(shell, f"{_begin(facts)}{_SHELL}{_REMOVE}", what, timeout=_LONG_S).split()


def _begin(facts: Facts) -> str:
    return f"{PATH}place={shlex.quote(place(facts))}\n"
