# SPDX-License-Identifier: GPL-2.0-only
"""A fleet of guests: the command for it, and what it leaves here and there."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from page_alloc_bench.targets.guest import Guest

RUN = ("--iterations", "1", "--alloc-orders", "0", "--label", "rack=tcg")
METRIC = "idle_available_bytes"
_LIMIT_S = 3000
_PLACES = (
    "/var/tmp/page-alloc* /root/.ansible /tmp/pab* /tmp/page-alloc* /dev/shm/page-alloc* "
    "/run/page-alloc*"
)


class GuestFleet:
    """The command for guests, by the names that they get.

    place: a directory of its own. run: options of the run.
    """

    def __init__(
        self,
        place: Path,
        guests: Mapping[str, Guest],
        bundles: Path,
        run: Sequence[str] = RUN,
    ) -> None:
        self._run = run
        (place / "hosts.ini").write_text(_inventory(guests))
        self.store, self.dir = place / "store", place / "fleet"
        self._command = [
            sys.executable, "-m", "page_alloc_bench.cli", "fleet", "run", str(place / "hosts.ini"),
            "--bundles", str(bundles), "--store", str(self.store), "--dir", str(self.dir),
            "--poll-s", "10",
        ]  # fmt: skip

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, *options, "--", *self._run], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *options: str) -> tuple[int, dict[str, str], str]:
        """Return exit code, outcome and reason of each host, and stderr."""
        process = self.start(*options)
        try:
            out, err = process.communicate(timeout=_LIMIT_S)
        finally:
            process.kill()
        lines = [line.split(maxsplit=1) for line in out.splitlines()]
        return process.returncode, {name: " ".join(rest.split()) for name, rest in lines}, err

    def result(self, name: str) -> dict[str, Any]:
        data = (self.dir / f"results/{name}.json.gz").read_bytes()
        whole: dict[str, Any] = json.loads(gzip.decompress(data))
        return whole


def _inventory(guests: Mapping[str, Guest]) -> str:
    """The hosts as Ansible wants them, which makes connections of its own."""
    lines = []
    for name, guest in guests.items():
        options = [word for word in guest.ssh_options("ssh", "root")[3:] if "=" in word]
        words = " ".join(f"-o {word}" for word in options if not word.startswith("ControlPath"))
        lines.append(f'{name} ansible_ssh_common_args="-F none {words}"')
    return "\n".join(lines) + "\n"


def leftovers(guest: Guest) -> str:
    """What is left in a guest of a fleet's run: files and the module."""
    return guest.run(
        ["sh", "-c", f"ls -d {_PLACES} 2>/dev/null; grep ^page_alloc_bench /proc/modules; exit 0"]
    ).stdout
