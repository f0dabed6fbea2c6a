# SPDX-License-Identifier: GPL-2.0-only
"""Start a kernel by GRUB's one-shot entry: next_entry in its environment, which it clears.

grub.cfg as grub-mkconfig writes it (util/grub.d/00_header.in) takes next_entry before the default,
and saves it empty. Where GRUB cannot write, it would stay, and be booted for ever.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from page_alloc_bench.targets.host import grub_menu, grub_own
from page_alloc_bench.targets.host.facts import PATH, Facts, HostKernel
from page_alloc_bench.targets.host.method import Refusal, go_down, order
from page_alloc_bench.targets.host.shell import Shell, checked

# File systems, as grub-probe calls them, in which GRUB writes the blocks of a file in place.
_WRITABLE = ("ext2", "fat", "xfs")
_OTHERWISE = "use --boot kexec or --boot efi"
_NEXT = "next_entry="


@dataclass(frozen=True)
class Grub:
    """facts: of the host as it was found. menu: its grub.cfg, and what that reads."""

    facts: Facts
    menu: str
    name: str = "grub"
    takes_cmdline: bool = False

    @property
    def takes_any(self) -> bool:
        """Return whether it can start kernels from here: its grub.cfg reads custom.cfg."""
        return grub_own.reads(self.menu)

    def about(self) -> str:
        """Return what it will do to the host, in a line."""
        return (
            f"next_entry in {self.facts['grub_env']} names the kernel's menu entry, and GRUB takes "
            "it once; then a clean restart. Kernels from here have entries in custom.cfg beside "
            "grub.cfg, until --uninstall"
        )

    def refusals(self, facts: Facts, kernels: Sequence[HostKernel]) -> list[Refusal]:
        """Return why it cannot start these kernels on that host."""
        found = [
            Refusal(f"there is no {what}", advice)
            for name, what, advice in (
                ("grub_config", "grub.cfg in /boot/grub or /boot/grub2", _OTHERWISE),
                ("grub_editenv", "grub-editenv", "apt-get install grub2-common"),
                ("grub_probe", "grub-probe", "apt-get install grub-common"),
                ("grub_env", "grubenv beside grub.cfg", "grub-editenv - create"),
            )
            if not facts[name]
        ]
        if found:
            return found
        found = self._environment(facts)
        if not re.search(r'set default="?\$\{next_entry\}', self.menu):
            advice = f"run update-grub there (GRUB 2.00 or newer), or {_OTHERWISE}"
            found.append(Refusal("its grub.cfg knows no one-shot entry (next_entry)", advice))
        entry = facts["grub_next"].removeprefix(_NEXT)
        if entry:
            advice = "restart it, or: grub-editenv - unset next_entry"
            found.append(Refusal(f"a one-shot entry is set already ({entry})", advice))
        found += [
            Refusal(f"no menu entry of GRUB boots {release}", f"run update-grub, or {_OTHERWISE}")
            for release in dict.fromkeys(each.release for each in kernels if not self._path(each))
        ]
        return found

    def _environment(self, facts: Facts) -> list[Refusal]:
        """Return why GRUB cannot write its environment."""
        place, layers = facts["grub_fs"], facts["grub_abstraction"]
        if place in _WRITABLE and not layers:
            return []
        where = f"{place or 'an unknown file system'}{f' on {layers}' if layers else ''}"
        return [
            Refusal(
                f"GRUB cannot write its environment, which is on {where}: a one-shot entry would "
                "stay for ever",
                _OTHERWISE,
            )
        ]

    def _path(self, kernel: HostKernel) -> str | None:
        if grub_own.is_ours(kernel):
            return grub_own.path(kernel)
        found = grub_menu.entry_of(self.menu, kernel.image, self.facts["cmdline"])
        return found.path if found else None

    def prepare(self, shell: Shell, kernels: Sequence[HostKernel]) -> None:
        """Write entries for kernels from here; its menu has the others.

        Raises UsageError and TargetError.
        """
        grub_own.write(shell, self.facts, self.menu, kernels)

    def restart(self, shell: Shell, kernel: HostKernel, words: str) -> None:
        """Make the host restart with a kernel. Raises TargetError."""
        path = self._path(kernel)
        assert path is not None, kernel
        assert not words
        given = shlex.quote(f"{_NEXT}{path}")
        arm = f"{self._tool} set {given} && {self._tool} list | grep -qxF {given} || exit 1"
        what = f"the restart into {kernel.release} by GRUB's entry {path}"
        order(shell, what, arm, go_down(self.facts, "reboot"), self.disarm())

    @property
    def _tool(self) -> str:
        return shlex.join([self.facts["grub_editenv"], self.facts["grub_env"]])

    def disarm(self) -> str:
        """Return a script that takes the one-shot entry back: GRUB leaves it there, but empty."""
        back = f"set {_NEXT}" if self.facts["grub_next"] else "unset next_entry"
        return f"{self._tool} {back} && sync"

    def marks(self, _kernel: HostKernel) -> Sequence[str]:
        """Return nothing: an entry is the same when it is chosen otherwise."""
        return ()

    def entered(self, kernel: HostKernel, _words: str, cmdline: str) -> bool:
        """Return whether it names the kernel's image: grub-core/loader/i386/linux.c puts it there.

        GRUB sees it from the top of its file system, and perhaps with its disk: (hd0,gpt2)/IMAGE.
        """
        found = re.search(r"(?:^|\s)BOOT_IMAGE=(?:\([^)]*\))?(/\S+)", cmdline)
        return found is not None and kernel.image.endswith(found[1])

    def took(self, shell: Shell) -> bool | None:
        """Return whether GRUB has taken and cleared the entry; what is left is taken back."""
        script = f"{PATH}{self._tool} list | grep ^{_NEXT}.; {self.disarm()}"
        return not checked(shell, script, "to read GRUB's environment").strip()


def menu_of(shell: Shell, facts: Facts) -> str:
    """Return the text of a host's grub.cfg, with what it reads besides; "" where it has none."""
    config = facts["grub_config"]
    if not config:
        return ""
    own = PurePosixPath(config).parent / "custom.cfg"
    return checked(shell, f"cat {config}; cat {own} 2>/dev/null || true", f"to read {config}")
