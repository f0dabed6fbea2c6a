# SPDX-License-Identifier: GPL-2.0-only
"""Restart a host with a kernel, and say what came back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from page_alloc_bench.runner.kernel import build_identity
from page_alloc_bench.runner.kernel.build_identity import Identity
from page_alloc_bench.targets.host.facts import PATH, Facts, HostKernel
from page_alloc_bench.targets.host.hook import call
from page_alloc_bench.targets.host.method import Method, plain_restart
from page_alloc_bench.targets.host.shell import Shell, UnreachableError, checked
from page_alloc_bench.targets.process import TargetError

BACK_S = 900.0
_LOOK = """cat /proc/sys/kernel/random/boot_id && uname -r && uname -v || exit
head -c 65536 /sys/kernel/notes 2>/dev/null | od -An -v -tx1 | tr -d ' \n'; echo
cat /proc/cmdline"""
_LOOK_S, _POLL_S = 60.0, 2.0
_OFF_AND_ON = "switch it off and on: it starts its default kernel"
_STARTED_S = 180.0  # until systemd has started all that belongs to a boot
_STARTED = f"[ ! -d /run/systemd/system ] || timeout {_STARTED_S:.0f} systemctl is-system-running \
--wait >/dev/null 2>&1 || true"


@dataclass(frozen=True)
class Seen:
    """What runs on a host. build: which build of the release, as far as it can be told."""

    boot_id: str
    release: str
    cmdline: str
    build: Identity


@dataclass(frozen=True)
class Restarted:
    """What came of a restart.

    seen: what runs now, None where the host did not come back. cycled: the power hook was called.
    took: whether the kernel was started, None where nobody knows.
    """

    seen: Seen | None
    cycled: bool = False
    took: bool | None = None


class DownError(TargetError):
    """The host does not come back; the message says what to do."""


class StaysError(TargetError):
    """The host was told to restart, and did not: it still answers as before."""


@dataclass(frozen=True)
class Restarter:
    """A host that can be restarted.

    back_s: how long a restart may take, in seconds. power_hook: a command that switches the host
    off and on, None for none. console: one that writes what the host's console shows.
    """

    shell: Shell
    facts: Facts
    method: Method
    note: Callable[[str], object]
    back_s: float = BACK_S
    power_hook: str | None = None
    console: str | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep

    def look(self) -> Seen:
        """Return what runs now. Raises UnreachableError."""
        said = checked(self.shell, _LOOK, "to ask what runs", timeout=_LOOK_S)
        boot_id, release, version, notes, *cmdline = said.splitlines()
        build_id = build_identity.of_notes(bytes.fromhex(notes))
        return Seen(boot_id, release, "".join(cmdline), {"version": version, "build_id": build_id})

    def up(self) -> Seen:
        """Return what runs now; the host may be on its way. Raises DownError."""
        seen = self._await("")
        return seen or self._cycle("", "it does not answer")

    def into(self, kernel: HostKernel, words: str = "") -> Restarted:
        """Restart with a kernel, and WORDS as more arguments.

        Raises DownError where the host is not reached before, TargetError where it does not take
        the order, StaysError where it takes it and goes on.
        """
        before = self._order(kernel, words)
        seen = self._await(before)
        if seen is not None:
            return Restarted(seen, took=self.method.took(self.shell))
        if self.power_hook is None:
            return Restarted(None)
        try:
            seen = self._cycle(before, self._late)
        except DownError as error:
            self.note(str(error))
            return Restarted(None, cycled=True)
        return Restarted(seen, cycled=True, took=self.method.took(self.shell))

    def _order(self, kernel: HostKernel, words: str) -> str:
        """Have the host restart with a kernel; return the boot that ends.

        A kernel that is compared may lack what it takes, such as CONFIG_KEXEC or EFI variables; the
        host's default has it.
        """
        now = self.up()
        try:
            self.method.restart(self.shell, kernel, words)
        except TargetError as error:
            if now.release == self.facts["release"]:
                raise
            self.note(f"{error}\nrestarting it as it does by itself, to try again from there")
            now = self.into_default()
            self.method.restart(self.shell, kernel, words)
        return now.boot_id

    def try_once(self, kernel: HostKernel) -> None:
        """Restart with the kernel that runs now, to see that it can be done.

        Raises DownError where the host does not come back, TargetError where something else does.
        """
        mark = f"page_alloc_bench.tried={secrets.token_hex(4)}" if self.method.takes_cmdline else ""
        restarted = self.into(kernel, mark)
        seen = restarted.seen
        if seen is None or restarted.cycled:
            state = f"it is down: {_OFF_AND_ON}" if seen is None else "--power-hook brought it back"
            raise DownError(
                f"{self.shell.host} does not come back after a restart by {self.method.name}, and "
                f"nothing was measured; {state}"
            )
        if seen.release != kernel.release or (mark and mark not in seen.cmdline.split()):
            raise TargetError(
                f"{self.shell.host}: a restart by {self.method.name} into {kernel.release} gave "
                f"{seen.release}, with the command line {seen.cmdline}; nothing was measured"
            )
        if restarted.took is False:
            raise TargetError(
                f"{self.shell.host}: the restart was not done by {self.method.name}; nothing was "
                "measured"
            )

    def into_default(self) -> Seen:
        """Restart as the host does by itself. Raises DownError, StaysError, TargetError."""
        before = self.up().boot_id
        script = f"{PATH}{self.method.disarm()}\n{plain_restart(self.facts)}"
        with suppress(UnreachableError):  # it may be gone before it can answer
            checked(self.shell, script, "the restart")
        seen = self._await(before) or self._cycle(before, self._late)
        self.method.took(self.shell)  # a kernel may lack what it takes to take the order back
        return seen

    def cycle(self) -> Seen:
        """Switch the host off and on. Raises DownError."""
        return self._cycle("", "it does not answer")

    @property
    def _late(self) -> str:
        return f"it is not back after {self.back_s:.0f} s"

    def _cycle(self, before: str, why: str) -> Seen:
        host = self.shell.host
        if self.power_hook is None:
            raise DownError(f"{host}: {why}: {_OFF_AND_ON}; --power-hook CMD has that done")
        self.note(f"{host}: {why}; calling --power-hook")
        call(self.power_hook, option="--power-hook")
        seen = self._await(before)
        if seen is None:
            raise DownError(
                f"{host}: it does not come back after --power-hook: see its console, and "
                f"{_OFF_AND_ON}"
            )
        return seen

    def _await(self, before: str) -> Seen | None:
        """Return what runs when the host answers, and it is not the boot BEFORE; None if never.

        Raises StaysError where it is that one to the end.
        """
        self.shell.forget()
        stays: Seen | None = None
        deadline = self.clock() + self.back_s
        while self.clock() < deadline:
            # While it goes down, what it is asked fails in many ways.
            try:
                seen = self.look()
                if seen.boot_id != before:
                    self.shell.run(_STARTED, timeout=_STARTED_S + _LOOK_S)
                    return seen
                stays = seen
            except TargetError:
                stays = None
            self.shell.forget()
            self.sleep(_POLL_S)
        if stays:
            raise StaysError(
                f"{self.shell.host} was told to restart, and still runs {stays.release} after "
                f"{self.back_s:.0f} s: see there why, and restart it"
            )
        return None
