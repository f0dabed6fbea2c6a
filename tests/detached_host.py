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
# A bench.run that measures nothing: it waits for a file called go, and obeys FAKE.
PROGRAM = """
import os, sys, time
sys.path.insert(0, {sources!r})
from page_alloc_bench.runner import session
from page_alloc_bench.runner.telling import output
from page_alloc_bench.runner.lifetime import claim as single
from page_alloc_bench.runner.lifetime import watchdog
from page_alloc_bench.runner.detached import whereabouts
from page_alloc_bench.runner.detached import run_directory
from page_alloc_bench.runner.errors import HostUnfitError, Stop
from page_alloc_bench.runner.measuring.estimate import Forecast
from page_alloc_bench.runner.telling.progress import Reporter

run_directory.PARENTS = ({parent!r},)
run_directory.require_root = lambda *_: None
single.ADDRESS = "\\0pab-test-" + {name!r}
single.LISTED_AS = "@pab-test-" + {name!r}
FAKE = os.environ.get("FAKE", "")

def run(options, signals, scratch, attendant=None):
    tell = attendant.tell if attendant else whereabouts.publish(options.output_path)
    reporter = Reporter(quiet=options.quiet, tell=tell, unread=attendant is not None)
    if FAKE == "forecast":
        probed = {{"bytes_per_second": 1 << 30, "first_bytes_per_second": 1 << 30}}
        reporter.expect(Forecast(options, {{
            "estimated_s": 40.0, "probe": probed, "fill_bytes": 1 << 30, "cold": False}}))
    reporter.warning("found by the preflight")
    while FAKE == "slow" and not os.path.exists({parent!r} + "/begin"):
        time.sleep(0.02)
    if FAKE == "refuse":
        reporter.error("the host is unfit")
        return 3
    try:
        claim = single.claim()
    except HostUnfitError as error:
        reporter.error(str(error))
        return 3
    guard = watchdog.Watchdog([claim.fileno(), *([attendant.directory] if attendant else [])])
    code, out = 0, output.open_output(options.output_path, lambda _: None)
    if attendant:
        attendant.begun()
    reporter.phase("order 0, idle", "idle", 0)
    reporter.finished(", iteration 1 of 2: 1 GiB")
    try:
        while not os.path.exists({parent!r} + "/go"):
            time.sleep(0.02)
    except Stop as stop:
        code = stop.exit_code
        reporter.error(str(stop))
    signals.finish()
    if FAKE == "raise":
        raise RuntimeError("on purpose")
    out.write(['{{"code": %d, "padding": "%s"}}\\n' % (code, "x" * 300000)], signals.let_in)
    if attendant and out.wanted:
        attendant.written()
    guard.dismiss()
    claim.close()
    return code

session.run = run
from page_alloc_bench.runner.__main__ import main
sys.exit(main())
"""


class Host:
    """A place with its own kept directory and claim, and the commands of a user there."""

    def __init__(self, parent: Path) -> None:
        self.parent = parent
        self.kept = parent / run_directory.NAME
        name = f"{os.getpid()}-{parent.name}"
        source = PROGRAM.format(sources=str(SOURCES), parent=str(parent), name=name)
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
        out, err = process.communicate(timeout=20)
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
