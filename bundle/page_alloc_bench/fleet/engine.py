# SPDX-License-Identifier: GPL-2.0-only
"""Have Ansible play one of our playbooks on some hosts, and tell of each task as it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner
import pexpect

from page_alloc_bench import resources

from .outcome import FleetError

# A broken connection ends a task after a minute. No master connection stays when this ends.
SSH_ARGUMENTS = "-o ControlMaster=no -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
CONNECT_S = 20
_SCRATCH = ".play."
DONE, FAILED, UNREACHABLE = "done", "failed", "unreachable"
_ENDS = {
    "runner_on_ok": DONE,
    "runner_on_failed": FAILED,
    "runner_on_unreachable": UNREACHABLE,
}
_ERROR = re.compile(r"\berror\b")
_CANCELED = 254  # of ansible_runner, for an error of ours
_ANSIBLE_FAILED_HOSTS = (0, 2, 4)  # exit codes of ansible-playbook: all well, failed, unreachable


@dataclass(frozen=True)
class Ended:
    """A task that ended on a host. task: its name in the playbook. end: DONE, FAILED, ..."""

    host: str
    task: str
    end: str
    result: Mapping[str, Any]

    @property
    def code(self) -> int | None:
        """Return the exit code of the command, None if it did not come to one."""
        code = self.result.get("rc")
        return code if isinstance(code, int) else None

    @property
    def stdout(self) -> str:
        """Return what the command printed."""
        return str(self.result.get("stdout", ""))

    @property
    def timed_out(self) -> bool:
        """Return whether its time was over."""
        return "timedout" in self.result or "Timed out after" in str(self.result.get("msg", ""))

    @property
    def reason(self) -> str:
        """Return one line that says what went wrong."""
        if self.timed_out:
            return f"{self.task}: its time was over"
        said = [self.result.get(name) for name in ("stderr", "stdout")]
        said = [text for text in said if text] if self.code is not None else []
        said = said or [self.result.get("msg", "")]
        # The ssh client may have said something too, and dd ends with what it copied.
        told = [line for text in said for line in str(text).splitlines() if _ERROR.search(line)]
        told = told or str(said[0]).strip().splitlines()[-1:]
        code = "" if self.code is None else f" ended with {self.code}"
        return ": ".join([f"{self.task}{code}", *told[:1]])


class Engine:
    """Plays on the hosts of an inventory. forks: how many are talked to at a time; become: root.

    inventory: as Ansible gets it. scratch: a directory for what is there while it plays.
    """

    def __init__(self, inventory: str, scratch: Path, *, forks: int, become: bool) -> None:
        # A list of names has a comma; all else is a file or a directory.
        self.inventory = inventory if "," in inventory else str(Path(inventory).resolve())
        self._forks, self._become = forks, become
        self._scratch = scratch.resolve()

    def hosts(self) -> list[str]:
        """Return the names of the hosts in the inventory. Raises FleetError."""
        return sorted(self.variables())

    def variables(self) -> dict[str, dict[str, Any]]:
        """Return what the inventory has of each of its hosts, by its name. Raises FleetError."""
        command = [sys.executable, "-m", "ansible", "inventory", "-i", self.inventory, "--list"]
        done = subprocess.run(
            command, env={**os.environ, **_environment()}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        groups = json.loads(done.stdout) if done.returncode == 0 else {}
        found = {host for group in groups.values() for host in group.get("hosts", ())}
        if not found:
            said = " ".join(done.stderr.split()) or "no host is in it"
            raise FleetError(f"the inventory {self.inventory} cannot be used: {said}")
        known = groups.get("_meta", {}).get("hostvars", {})
        return {host: known.get(host, {}) for host in found}

    def play(
        self,
        name: str,
        hosts: Sequence[str],
        facts: Mapping[str, Any],
        told: Callable[[Ended], object],
    ) -> None:
        """Play templates/fleet/NAME.yml on hosts, and return when all have ended.

        facts: variables for it; braces in them mean nothing. Raises FleetError where Ansible itself
        does not work; what goes wrong on a host is told.
        """
        for left in self._scratch.glob(f"{_SCRATCH}*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        # Told in a thread: ansible_runner has no time for it, once Ansible has ended.
        with (
            tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=self._scratch) as scratch,
            ThreadPoolExecutor(max_workers=1) as teller,
        ):
            at = Path(scratch)
            (at / "hosts").write_text("\n".join(hosts) + "\n")
            (at / "facts.yml").write_text(_yaml(facts))
            become = " --become" if self._become else ""
            with_errors: list[BaseException] = []
            try:
                done = ansible_runner.run(
                    private_data_dir=scratch,
                    playbook=str(resources.templates_dir() / "fleet" / f"{name}.yml"),
                    inventory=self.inventory,
                    # Relative to private_data_dir: Ansible divides a limit at each space.
                    limit="@hosts",
                    forks=self._forks,
                    cmdline=f"-e @facts.yml{become}",
                    envvars=_environment(),
                    event_handler=lambda event: _hear(
                        event, lambda ended: teller.submit(_tell, ended, told, with_errors)
                    ),
                    cancel_callback=lambda: bool(with_errors),
                    quiet=True,
                )
            except pexpect.TIMEOUT as error:
                raise FleetError(
                    "this machine is too busy to read all that Ansible said: give the same command "
                    "again, which goes on"
                ) from error
            if done.rc not in (*_ANSIBLE_FAILED_HOSTS, _CANCELED):
                said = " ".join(done.stdout.read().split())[-1000:]
                raise FleetError(f"ansible-playbook ended with {done.rc}: {said}")
        if with_errors:
            raise with_errors[0]


def _hear(event: Mapping[str, Any], passed_on: Callable[[Ended], object]) -> bool:
    """Pass on the end of a task."""
    end = _ENDS.get(event["event"])
    if end is not None:
        data = event["event_data"]
        passed_on(Ended(data["host"], data["task"], end, data.get("res") or {}))
    return False  # keeps no copy of the event in a file


def _tell(ended: Ended, told: Callable[[Ended], object], errors: list[BaseException]) -> None:
    """Tell of the end of a task, unless something went wrong before."""
    if not errors:
        try:
            told(ended)
        except Exception as error:
            errors.append(error)


def _environment() -> dict[str, str]:
    """Return what Ansible is started with.

    What the user has set in the environment stays. An ansible.cfg counts, also one in this
    directory, but for ssh_args and timeout: by these a host that is dark is noticed.
    """
    local = Path("ansible.cfg").resolve()
    ours = {
        "ANSIBLE_SSH_ARGS": SSH_ARGUMENTS,
        "ANSIBLE_TIMEOUT": str(CONNECT_S),
        **({"ANSIBLE_CONFIG": str(local)} if local.is_file() else {}),
    }
    ours = {name: value for name, value in ours.items() if name not in os.environ}
    beside = Path(sys.executable).parent
    return {
        **ours,
        "PATH": f"{beside}:{os.environ.get('PATH', os.defpath)}",
        "LC_ALL": "C.UTF-8",  # Ansible refuses any other charset
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_HOME": os.environ.get("ANSIBLE_HOME", str(Path.home() / ".ansible")),
    }


def _yaml(facts: Mapping[str, Any]) -> str:
    """Return variables in YAML; every text is one that Ansible takes as it stands."""
    return "".join(f"{json.dumps(name)}: {_value(value)}\n" for name, value in facts.items())


def _value(value: Any) -> str:
    if isinstance(value, str):
        return f"!unsafe {json.dumps(value)}"
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(key)}: {_value(each)}" for key, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)
