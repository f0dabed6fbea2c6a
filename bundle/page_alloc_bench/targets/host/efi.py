# SPDX-License-Identifier: GPL-2.0-only
"""Start a kernel by EFI's BootNext: the firmware takes it once, and removes it before it boots.

UEFI 2.10, 3.1.1 and 3.3: an entry Boot#### that is not in BootOrder is booted by BootNext only.
The entry is the kernel's own EFI stub (Documentation/admin-guide/efi-stub.rst): no boot loader
needs to know of it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from page_alloc_bench.runner.result import units
from page_alloc_bench.targets.host import efi_files
from page_alloc_bench.targets.host.facts import PATH, Facts, HostKernel
from page_alloc_bench.targets.host.method import Refusal, go_down, order, own_cmdline
from page_alloc_bench.targets.host.shell import Shell, checked

_LABEL = "page-alloc-bench"
_OTHERWISE = "use --boot kexec"
_VARIABLES = "/sys/firmware/efi/efivars"
_SPARE_KIB = 1024  # a kernel, for directories and what does not fill a cluster of FAT
# efibootmgr prints "BootNext: 0003" and "Boot0003* LABEL", from version 18 with a tab and more.
_SHELL = rf"""
ours() {{ efibootmgr | sed -n 's/^Boot\([0-9A-F]\{{4\}}\)[* ] {_LABEL}\([[:cntrl:]].*\)*$/\1/p'; }}
is_next() {{ efibootmgr | grep -qx "BootNext: $1"; }}
boot_order() {{ efibootmgr | grep ^BootOrder || true; }}
disarm() {{
    for entry in $(ours); do
        if is_next "$entry"; then efibootmgr --quiet --delete-bootnext || return; fi
        efibootmgr --quiet --bootnum "$entry" --delete-bootnum || return
    done
}}
arm() {{
    disarm && before=$(boot_order) && efibootmgr --quiet --create-only "$@" &&
        [ "$(boot_order)" = "$before" ] && entry=$(ours) && [ "$entry" ] &&
        efibootmgr --quiet --bootnext "$entry" && is_next "$entry"
}}
"""
# A kernel may come up without EFI's variables.
_TOOK = """
efibootmgr >/dev/null 2>&1 || { echo unknown; exit 0; }
for entry in $(ours); do if is_next "$entry"; then echo left; fi; done
disarm && [ ! "$(ours)" ]
"""


@dataclass(frozen=True)
class Efi:
    """facts: of the host as it was found; each kernel gets that command line."""

    facts: Facts
    name: str = "efi"
    takes_cmdline: bool = True
    takes_any: bool = True

    def about(self) -> str:
        """Return what it will do to the host, in a line."""
        return (
            f"each kernel is copied to {efi_files.place(self.facts)}, until --uninstall; "
            "BootNext names a boot entry of ours for it, outside BootOrder, and the firmware takes "
            "that once; then a clean restart"
        )

    def refusals(self, facts: Facts, kernels: Sequence[HostKernel]) -> list[Refusal]:
        """Return why it cannot start these kernels on that host."""
        if not facts["efi"]:
            return [Refusal("it was not booted by EFI", "use --boot kexec or --boot grub")]
        return [*_of_variables(facts), *_of_partition(facts), *_of_kernels(facts, kernels)]

    def prepare(self, shell: Shell, kernels: Sequence[HostKernel]) -> None:
        """Copy the kernels. Raises UsageError for one without EFI stub, and TargetError."""
        efi_files.copy(shell, self.facts, kernels)

    def restart(self, shell: Shell, kernel: HostKernel, words: str) -> None:
        """Make the host restart with a kernel, and WORDS as more arguments. Raises TargetError."""
        cmdline = f"{efi_files.initrd_word(kernel)} {own_cmdline(self.facts, words)}".strip()
        given = shlex.join([
            *("--disk", self.facts["efi_disk"], "--part", self.facts["efi_part"]),
            *("--label", _LABEL, "--loader", efi_files.loader(kernel), "--unicode", cmdline),
        ])  # fmt: skip
        what = f"the restart into {kernel.release} by EFI's BootNext"
        arm = f"{_SHELL}arm {given} || exit 1"
        order(shell, what, arm, go_down(self.facts, "reboot"), self.disarm())

    def marks(self, kernel: HostKernel) -> list[str]:
        """Return what tells a kernel that was started so from one that was not."""
        word = efi_files.initrd_word(kernel)
        return [word] if word else []

    def entered(self, kernel: HostKernel, _words: str, cmdline: str) -> bool:
        """Return whether it names the initramfs of our copy."""
        return any(word in cmdline.split() for word in self.marks(kernel))

    def took(self, shell: Shell) -> bool | None:
        """Return whether the firmware has taken BootNext; the entry is removed in any case."""
        what = "to remove the boot entry"
        said = checked(shell, f"{PATH}{_SHELL}{_TOOK}", what).split()
        return None if "unknown" in said else "left" not in said

    def disarm(self) -> str:
        """Return a script that removes the entry, and BootNext where it names it."""
        return f"{_SHELL}disarm"


def uninstall(shell: Shell, facts: Facts) -> list[str]:
    """Remove our boot entry and copies of kernels; return their releases. Raises TargetError."""
    if facts["efibootmgr"] and facts["efi_vars"]:
        what = "to remove the boot entry"
        checked(shell, f'{PATH}{_SHELL}disarm && [ ! "$(ours)" ]', what)
    return efi_files.remove(shell, facts) if facts["efi_esp"] else []


def _of_variables(facts: Facts) -> Iterator[Refusal]:
    options = facts["efi_vars"].split(",")
    if facts["efi"] != "64":
        yield Refusal(f"its EFI firmware is of {facts['efi']} bits", _OTHERWISE)
    if not facts["efi_vars"]:
        advice = (
            f"mount -t efivarfs efivarfs {_VARIABLES}, after a boot with efi=runtime if need be"
        )
        yield Refusal("EFI's variables are not there", advice)
    elif "rw" not in options:
        yield Refusal("EFI's variables are read-only", f"mount -o remount,rw {_VARIABLES}")
    if not facts["efibootmgr"]:
        yield Refusal("there is no efibootmgr", "apt-get install efibootmgr")
    if facts["efi_next"]:
        advice = "restart it, or: efibootmgr --delete-bootnext"
        yield Refusal(f"BootNext is set already ({facts['efi_next']})", advice)


def _of_partition(facts: Facts) -> Iterator[Refusal]:
    esp = facts["efi_esp"]
    if not esp:
        advice = "mount it on one of them"
        yield Refusal("no EFI system partition is on /boot/efi, /efi or /boot", advice)
    elif "rw" not in facts["efi_options"].split(","):
        yield Refusal(f"{esp} is read-only", f"mount -o remount,rw {esp}")
    elif not facts["efi_part"]:
        what = f"{esp} is on {facts['efi_device']}, which is not a partition of a disk"
        yield Refusal(what, _OTHERWISE)


def _of_kernels(facts: Facts, kernels: Sequence[HostKernel]) -> Iterator[Refusal]:
    stubs = facts["efi_stubs"].split()
    sizes = dict(each.split("=") for each in facts["kernel_kib"].split())
    wanted = dict.fromkeys(each.release for each in kernels)
    for release in wanted:
        if release not in stubs:
            yield Refusal(f"{release} has no EFI stub (CONFIG_EFI_STUB)", _OTHERWISE)
    needed = sum(int(sizes.get(release) or 0) + _SPARE_KIB for release in wanted)
    free = int(facts["efi_free_kib"] or 0)
    if facts["efi_esp"] and free < needed:
        yield Refusal(
            f"the copies of the kernels need {units.mib(needed << 10)} MiB, and {facts['efi_esp']} "
            f"has {units.mib(free << 10)}",
            f"make room there, or {_OTHERWISE}",
        )
