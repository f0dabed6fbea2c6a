# SPDX-License-Identifier: GPL-2.0-only
"""Boot a throwaway guest in QEMU, reach it over ssh, and leave nothing of it behind.

    with Guest(kernel=kernels.fetch("6.1"), cpus=4, nodes=2, memory="2G") as guest:
        guest.copy_to(Path("bench.run"), "/home/bench/")
        guest.run("sudo ./bench.run --iterations 1", user="bench")

However the process that made it ends, QEMU ends with it and its scratch directory goes (keeper.py).
"""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Union

from page_alloc_bench.targets import devices, fitted, initramfs, kernels, keys, qmp, root
from page_alloc_bench.targets.boot_failure import VERBOSE, Boot
from page_alloc_bench.targets.fitted import SSH, Fitted
from page_alloc_bench.targets.kernels import FetchedKernel
from page_alloc_bench.targets.machine import command_line, kernel_arguments, machine
from page_alloc_bench.targets.process import CommandError, TargetError, describe, need, run
from page_alloc_bench.targets.qemu import Qemu
from page_alloc_bench.targets.root import READY, Root

Argv = Union[str, Sequence[str]]

_SSH_FAILED = 255  # ssh's own exit status when the connection, not the command, failed
_POLL_S = 0.05
BOOT_S = 180.0


class Guest:
    """A booted guest; a context manager whose body runs once ssh answers.

    ``kernel``: one that can be reached by ssh, a fetched one, a name of the list, or None for the
    default. ``cpus``, ``nodes``: 4 and 2 by default. ``memory``: like "2G". ``cmdline_extra`` goes
    after the kernel's arguments. ``icount`` counts instructions as nanoseconds, on one CPU and
    node. ``memoryless``: numbers of nodes that have no memory, and ``accel``: see Machine.
    ``boot_timeout`` is in seconds. ``boot_seconds`` says how long it took from starting QEMU until
    ssh was ready.

    Every error is a TargetError; where the guest is at fault it quotes the end of the console.
    """

    def __init__(
        self,
        kernel: Fitted | FetchedKernel | str | None = None,
        cpus: int | None = None,
        nodes: int | None = None,
        memory: str = "2G",
        *,
        cmdline_extra: str = "",
        icount: bool = False,
        memoryless: tuple[int, ...] = (),
        accel: str = "tcg",
        root: Root | str = root.DEFAULT,
        boot_timeout: float = BOOT_S,
    ):
        self.machine = machine(
            cpus, nodes, memory, icount=icount, memoryless=memoryless, accel=accel
        )
        if isinstance(kernel, str) or kernel is None:
            need("qemu-system-x86_64", "qemu-system-x86")  # before a minute of downloads
            kernel = kernels.fetch(kernel or kernels.DEFAULT)
        self.kernel: Any = kernel
        self._boots = kernel if isinstance(kernel, Fitted) else fitted.of_fetched(kernel)
        self._boots.choose(SSH)
        self._verbose = isinstance(kernel, Fitted)
        self.port = 0
        self.boot_seconds = 0.0
        self._root = root
        self._cmdline_extra = cmdline_extra
        self._boot_timeout = boot_timeout
        self._qemu: Qemu | None = None
        self._last_console = ""
        self._masters: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Guest:
        """Boot, and return when ssh answers."""
        qemu = need("qemu-system-x86_64", "qemu-system-x86")
        need("ssh", "openssh-client")
        image = root.image(self._root)
        content = initramfs.build(self._boots)
        self._keys = keys.get_keys()
        self._qemu = Qemu()
        try:
            initrd = self._qemu.scratch / "initrd"
            initrd.write_bytes(content)
            verbose = VERBOSE[self._boots.arch] if self._verbose else ""
            assert self._boots.disk is not None, SSH
            assert self._boots.network is not None, SSH
            argv = command_line(
                qemu,
                self.machine,
                scratch=self._qemu.scratch,
                kernel=self._boots.image,
                initrd=initrd,
                append=kernel_arguments(
                    f"{verbose} {self._cmdline_extra}".strip(), accel=self.machine.accel
                ),
                root=devices.disks(self._boots.disk, [("d", image, "snapshot=on")]),
                network=self._boots.network,
            )
            started = time.monotonic()
            self._qemu.start(argv)
            if self.machine.accel == "kvm":
                qmp.pin(self._qemu, self.machine)
            self._await_ssh(self._qemu, started + self._boot_timeout)
        except BaseException:
            self.kill()
            raise
        self.boot_seconds = time.monotonic() - started
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the guest."""
        self.kill()

    def run(
        self,
        command: Argv,
        user: str = "root",
        *,
        check: bool = True,
        timeout: float | None = None,
        input: str | None = None,  # noqa: A002 (subprocess.run's name for it)
    ) -> subprocess.CompletedProcess[str]:
        """Run COMMAND (words, or a line for the guest's shell) as USER and return its output.

        TIMEOUT is in seconds; the command may go on in the guest after it. A failure of the
        connection is a TargetError even without CHECK: the status 255 is only ever the command's.
        """
        argv = [*self._ssh(user), _line(command)]
        try:
            done = run(argv, check=False, timeout=timeout, stdin=input)
        except CommandError as error:
            self._raise_if_gone()
            raise TargetError(f"in the guest: {_line(command)}: {_reason(error)}") from error
        if done.returncode == _SSH_FAILED:
            self.raise_if_unreachable(user)
        if check and done.returncode != 0:
            output = done.stdout + done.stderr
            raise CommandError(
                [_line(command)],
                done.returncode,
                f"{describe(done.returncode)} in the guest",
                output,
            )
        return done

    def popen(self, command: Argv, user: str = "root", **options: Any) -> subprocess.Popen[Any]:
        """Start COMMAND as USER; OPTIONS are subprocess.Popen's, stdin is nothing by default.

        The command keeps running in the guest when the local process is killed, as with any ssh.
        """
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([*self._ssh(user), _line(command)], **options)

    def copy_to(self, src: Path, dst: str, user: str = "root") -> None:
        """Copy the local file or directory SRC to DST in the guest, modes kept."""
        self._scp(user, str(src), f"guest:{dst}")

    def copy_from(self, src: str, dst: Path, user: str = "root") -> None:
        """Copy the file or directory SRC of the guest to DST."""
        self._scp(user, f"guest:{src}", str(dst))

    def console(self) -> str:
        """Return what the guest wrote to its serial console so far, also after its end."""
        if self._qemu is not None:
            self._last_console = self._qemu.console()
        return self._last_console

    def dmesg(self) -> str:
        """Return the kernel's log."""
        return self.run(["dmesg"]).stdout

    @property
    def scratch(self) -> Path | None:
        """The directory of QEMU's files while there is a QEMU, else None."""
        return None if self._qemu is None else self._qemu.scratch

    def alive(self) -> bool:
        """Return whether QEMU still runs."""
        return self._qemu is not None and self._qemu.alive()

    def kill(self) -> None:
        """End QEMU at once and remove its files; a second time does nothing."""
        self.console()
        for user in self._masters:
            run([*self.ssh_options("ssh", user), "-O", "exit", "guest"], check=False, timeout=10)
        self._masters.clear()
        if self._qemu is not None:
            self._qemu.remove()
            self._qemu = None

    def raise_if_unreachable(self, user: str) -> None:
        """Raise TargetError unless the guest lives and USER's connection to it stands."""
        self._raise_if_gone()
        argv = [*self.ssh_options("ssh", user), "-O", "check", "guest"]
        if run(argv, check=False, timeout=10).returncode != 0:
            self._masters.discard(user)
            # A QEMU that has just died closes its sockets a moment before its keeper knows.
            time.sleep(0.5)
            self._raise_if_gone()
            raise TargetError(f"the ssh connection to the guest broke{self._quote_console()}")

    def _await_ssh(self, qemu: Qemu, deadline: float) -> None:
        """Return when the guest's init has said that it is ready and ssh works as root."""
        boot = Boot(qemu, self._boot_timeout, verbose=self._verbose)
        while READY not in self.console():
            boot.check()
            time.sleep(_POLL_S)
        self.port = self._forwarded_port()
        # The init speaks a moment before sshd listens.
        while not self._try_ssh(deadline):
            time.sleep(_POLL_S)

    def _try_ssh(self, deadline: float) -> bool:
        """Return whether a root login works; raise when it does not by DEADLINE."""
        try:
            self._ssh("root")
        except CommandError as error:
            self._raise_if_gone()
            if time.monotonic() > deadline:
                raise TargetError(f"ssh to the guest fails: {_reason(error)}") from error
            return False
        return True

    def _forwarded_port(self) -> int:
        """Return the port of this host that QEMU chose for the guest's ssh."""
        assert self.scratch
        text = qmp.ask(self.scratch, "human-monitor-command", {"command-line": "info usernet"})
        match = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", str(text))
        if match is None:
            raise TargetError(f"QEMU forwards no port to the guest's ssh:\n{text}")
        return int(match[1])

    def _ssh(self, user: str) -> list[str]:
        """Return the ssh command for USER, over a master connection that is there already."""
        options = self.ssh_options("ssh", user)
        with self._lock:
            if user not in self._masters:
                self._raise_if_gone()
                # -f: returns once logged in; the master stays until the guest is removed.
                run([*options, "-fNM", "guest"], timeout=60)
                self._masters.add(user)
        return [*options, "-T", "guest"]

    def ssh_options(self, tool: str, user: str) -> list[str]:
        """Return TOOL (ssh or scp) and its options for USER; the name of the host is ``guest``."""
        settings = {
            "User": user,
            "HostName": "127.0.0.1",
            "Port": self.port,
            "HostKeyAlias": keys.HOST_ALIAS,
            "UserKnownHostsFile": self._keys.known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentityFile": self._keys.login,
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": 10,
            "TCPKeepAlive": "no",
            "KexAlgorithms": "curve25519-sha256",
            "ControlPath": f"{self.scratch}/{user}",
            "LogLevel": "ERROR",
        }
        # -F none: what the user has configured for his own hosts is not for this one.
        words = [need(tool, "openssh-client"), "-F", "none"]
        return words + [
            word for key, value in settings.items() for word in ("-o", f"{key}={value}")
        ]

    def _scp(self, user: str, src: str, dst: str) -> None:
        self._ssh(user)
        try:
            run([*self.ssh_options("scp", user), "-rpq", src, dst])
        except CommandError as error:
            self._raise_if_gone()
            raise TargetError(f"cannot copy {src} to {dst}: {_reason(error)}") from error

    def _raise_if_gone(self) -> None:
        if self.alive():
            return
        if self._qemu is None:
            raise TargetError("the guest is not running: it was removed or never started")
        raise self._qemu.why_it_ended()

    def _quote_console(self) -> str:
        return self._qemu.quote_console() if self._qemu is not None else ""


def _line(command: Argv) -> str:
    """Return COMMAND as one line for the guest's shell."""
    return command if isinstance(command, str) else shlex.join(command)


def _reason(error: CommandError) -> str:
    """Return what ERROR says without the long command line of ssh."""
    return str(error).partition(": ")[2]
