# SPDX-License-Identifier: GPL-2.0-only
"""A guest that plays a host which is restarted by kexec, with two kernels in its /boot.

A plain restart, or a reset, starts the kernel that QEMU has: the host's default.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.targets import fitted, initramfs, kernels, qmp, root
from page_alloc_bench.targets.guest import Guest

KERNELS = ("6.1", "6.12")  # the first is the default
# On a busy machine a guest may not run for a minute, which its kernel would take for a lockup.
NO_WATCHDOG = "nowatchdog"
_ANSWERS_S = 60  # a guest on a busy machine is slow to greet
_NOT_OURS = ("ControlPath", "BatchMode", "ConnectTimeout")


@dataclass(frozen=True)
class KexecHost:
    """The host, the ssh client with which it is called by its name, and releases of its kernels.

    config: of the client, which knows it as "host" too.
    """

    guest: Guest
    config: Path
    old: str
    new: str

    @property
    def ssh(self) -> str:
        """The ssh client and the words with which it knows this host."""
        return f"ssh -F {self.config}"

    @property
    def power_hook(self) -> str:
        """A command that resets it, as one that switches the power off and on."""
        code = "import sys; from page_alloc_bench.targets import qmp; from pathlib import Path; "
        code += "qmp.ask(Path(sys.argv[1]), 'system_reset')"
        return shlex.join([sys.executable, "-c", code, str(self.guest.scratch)])

    @property
    def console_command(self) -> str:
        """A command that writes what the serial port writes from now on."""
        return f"tail -n 0 -f {self.guest.scratch}/console"


@contextmanager
def kexec_host(place: Path, of: str = root.DEFAULT, name: str = "host") -> Iterator[KexecHost]:
    """Boot the host.

    place: a directory for files of its own. of: the guest root that it has. name: besides "host".
    """
    plain = root.lookup(of)
    packages = (*plain.packages, "kexec-tools")
    own_name = plain.name.replace("bookworm", "kexec-host")
    own = dataclasses.replace(plain, name=own_name, packages=packages)
    found = [kernels.fetch(kernel) for kernel in KERNELS]
    with Guest(
        kernel=found[0], cpus=1, nodes=1, memory="768M", root=own, cmdline_extra=NO_WATCHDOG
    ) as guest:
        assert guest.scratch is not None
        qmp.ask(guest.scratch, "set-action", {"reboot": "reset"})
        for kernel in found:
            initrd = place / "initrd"
            initrd.write_bytes(initramfs.build(fitted.of_fetched(kernel)))
            guest.run(f"mkdir -p /boot /lib/modules/{kernel.release}")
            guest.copy_to(kernel.vmlinuz, f"/boot/vmlinuz-{kernel.release}")
            guest.copy_to(initrd, f"/boot/initrd.img-{kernel.release}")
        config = place / "config"
        given = [word.split("=", 1) for word in guest.ssh_options("ssh", "root") if "=" in word]
        lines = [f"{word} {value}" for word, value in given if word not in _NOT_OURS]
        config.write_text(
            "\n".join([f"Host host {name}", *lines, f"ConnectTimeout {_ANSWERS_S}"]) + "\n"
        )
        yield KexecHost(guest, config, *(kernel.release for kernel in found))
