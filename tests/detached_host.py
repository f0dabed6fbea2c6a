# SPDX-License-Identifier: GPL-2.0-only
"""A host on which detached runs are started that measure nothing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

from page_alloc_bench.runner.detached import run_directory
from waiting import eventually

SOURCES = Path(run_directory.__file__).parents[3]
# Starts measures_nothing.py with a place of its own.
PROGRAM = """
import sys
sys.path[:0] = [{sources!r}, {tests!r}]
import measures_nothing
sys.exit(measures_nothing.main({parent!r}, {name!r}))
"""


class Host:
    """A place with its own kept directory and claim, and the commands of a user there."""

    def __init__(self, parent: Path) -> None:
        self.parent = parent
        self.kept = parent / run_directory.NAME
        name = f"{os.getpid()}-{parent.name}"
        source = PROGRAM.format(
            sources=str(SOURCES), tests=str(Path(__file__).parent), parent=str(parent), name=name
        )
        self._program = parent / "bench.py"
        self._program.write_text(source)

    def start(self, *options: str, **more: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, "FAKE": more.pop("fake", "")}
        settings: dict[str, Any] = {
            "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
            "text": True, "env": environment, **more,
        }  # fmt: skip
        return subprocess.Popen([sys.executable, self._program, *options], **settings)

    def run(self, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end, which comes when nobody holds its pipes any more."""
        process = self.start(*options, **more)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(options, process.returncode, out, err)

    def detach(self, *options: str, **more: Any) -> int:
        """Start a run; return its PID."""
        done = self.run("--detach", *options, **more)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        return int(self.status()["pid"])

    def status(self) -> dict[str, Any]:
        done = self.run("--status")
        assert done.stderr == ""
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def told_to_a_person(self) -> list[str]:
        """Return the lines that --status has for a terminal."""
        leader, follower = pty.openpty()
        process = self.start("--status", stdout=follower)
        os.close(follower)
        process.wait(20)
        text = os.read(leader, 4096).decode()
        os.close(leader)
        return text.splitlines()

    def go(self) -> None:
        (self.parent / "go").touch()

    def end(self) -> None:
        """Let the run come to its end."""
        self.go()
        assert eventually(lambda: self.status()["state"] != "running")
