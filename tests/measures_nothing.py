# SPDX-License-Identifier: GPL-2.0-only
"""A bench.run whose runs measure nothing: each waits for a file called go, and obeys FAKE."""

from __future__ import annotations

import os
import time
from pathlib import Path

from page_alloc_bench.runner import __main__ as command
from page_alloc_bench.runner import session
from page_alloc_bench.runner.attended import Attendant
from page_alloc_bench.runner.detached import run_directory, whereabouts
from page_alloc_bench.runner.errors import HostUnfitError, Stop
from page_alloc_bench.runner.lifetime import claim as single
from page_alloc_bench.runner.lifetime import watchdog
from page_alloc_bench.runner.lifetime.scratch import Scratch
from page_alloc_bench.runner.lifetime.signals import Signals
from page_alloc_bench.runner.measuring.estimate import Forecast
from page_alloc_bench.runner.options import Options
from page_alloc_bench.runner.telling import output
from page_alloc_bench.runner.telling.progress import Reporter

FAKE = os.environ.get("FAKE", "")


def wait_for(name: str) -> None:
    while not (Path(run_directory.PARENTS[0]) / name).exists():
        time.sleep(0.02)


def expect(reporter: Reporter, options: Options) -> None:
    probed = {"bytes_per_second": 1 << 30, "first_bytes_per_second": 1 << 30}
    estimate = {"estimated_s": 40.0, "probe": probed, "fill_bytes": 1 << 30, "cold": False}
    reporter.expect(Forecast(options, estimate))


def run(
    options: Options, signals: Signals, scratch: Scratch, attendant: Attendant | None = None
) -> int:
    """Stand in for session.run()."""
    tell = attendant.tell if attendant else whereabouts.publish(options.output_path)
    reporter = Reporter(quiet=options.quiet, tell=tell, unread=attendant is not None)
    if FAKE == "forecast":
        expect(reporter, options)
    reporter.warning("found by the preflight")
    if FAKE == "slow":
        wait_for("begin")
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
        wait_for("go")
    except Stop as stop:
        code = stop.exit_code
        reporter.error(str(stop))
    signals.finish()
    if FAKE == "raise":
        raise RuntimeError("on purpose")
    padding = "x" * 300000
    out.write([f'{{"code": {code}, "padding": "{padding}"}}\n'], signals.let_in)
    if attendant and out.wanted:
        attendant.written()
    guard.dismiss()
    claim.close()
    return code


def main(parent: str, name: str) -> int:
    """Run the command line with all that is kept in parent, and a claim of that name."""
    run_directory.PARENTS = (parent,)
    run_directory.require_root = lambda *_: None
    single.ADDRESS = f"\0pab-test-{name}"
    single.LISTED_AS = f"@pab-test-{name}"
    session.run = run
    return command.main()
