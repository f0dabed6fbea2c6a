# SPDX-License-Identifier: GPL-2.0-only
"""One run from the first check to the last trace removed."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from . import preflight, workload
from .detached import whereabouts
from .errors import (
    HostUnfitError,
    RunnerError,
    Stop,
    describe,
    exit_code,
)
from .kernel import mounts, procfs
from .lifetime import claim, in_child, oom_score, watchdog
from .lifetime.scratch import Scratch
from .lifetime.signals import Signals
from .measuring import estimate
from .options import Options, check_cpus, check_orders
from .run import Run
from .telling import output
from .telling.progress import Reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .attended import Attendant
    from .telling.ktap import Ktap


def run(
    options: Options, signals: Signals, scratch: Scratch, attendant: Attendant | None = None
) -> int:
    """Measure, write the result, clean up, and return the exit code.

    attendant: of a run that is detached.
    """
    tell = attendant.tell if attendant is not None else whereabouts.publish(options.output_path)
    reporter = Reporter(
        quiet=options.quiet, verbose=options.verbose, tell=tell, unread=attendant is not None
    )
    with ExitStack() as stack:
        ktap: Ktap | None = None
        try:
            ktap = _begin_ktap(options, signals, reporter) if options.ktap else None
            prepared = _prepare(
                stack, options, signals, scratch, reporter=reporter, ktap=ktap, attendant=attendant
            )
        except (RunnerError, Stop, OSError) as error:
            with signals.deferred():
                signals.finish()
                reporter.error(describe(error))
                if ktap is not None:
                    ktap.bail_out(describe(error))
                return exit_code(error)
        return prepared.run()
    raise AssertionError("the stack swallows nothing")


def _begin_ktap(options: Options, signals: Signals, reporter: Reporter) -> Ktap:
    """Begin to tell the run on stdout as KTAP. Raises UsageError if stdout takes nothing."""
    from .telling.ktap import Ktap

    out = output.open_output("-", lambda _: None)

    def write(text: str) -> None:
        reporter.clear_line()
        out.write([text], signals.let_in)

    planned = workload.plan(options)
    return Ktap(write, list(dict.fromkeys(order for _, order in planned)), planned)


def _prepare(
    stack: ExitStack,
    options: Options,
    signals: Signals,
    scratch: Scratch,
    *,
    reporter: Reporter,
    ktap: Ktap | None,
    attendant: Attendant | None,
) -> Run:
    """Check what can be checked before anything is changed, and set up what cleans up."""
    if os.geteuid() != 0:
        raise HostUnfitError(preflight.NOT_ROOT)
    mounts.require()
    cpus = check_cpus(options.cpus, os.sched_getaffinity(0))
    check_orders(options.alloc_orders, procfs.largest_order())
    for each in workload.chosen(options):
        each.fits(options, cpus)
    with signals.deferred():
        claimed = stack.enter_context(claim.claim())
        inherited = _settle(reporter, signals)
        findings, expected = judge_host(options, reporter, signals)
        stack.enter_context(oom_score.from_oom_killer())
        locked = [attendant.directory] if attendant is not None else []
        guard = watchdog.Watchdog([claimed.fileno(), *locked])
        stack.callback(guard.dismiss)
        if scratch.path and not scratch.keep:
            guard.expect(watchdog.TREE, scratch.path)
            stack.callback(scratch.remove)
            scratch.take_over()
        out = output.open_output(
            options.output_path,
            lambda path: guard.expect(watchdog.FILE, path),
            stdout_taken=ktap is not None,
            keep=True,
        )
        stack.callback(out.discard)
    if out.kept_as:
        reporter.hint(f"the result will be in {out.kept_as}")
        reporter.hint("--output-path FILE puts it elsewhere, --output-path none discards it")
    reporter.watch_stdout(needed=out.to_stdout or ktap is not None)
    return Run(
        options=options,
        scratch=scratch,
        signals=signals,
        reporter=reporter,
        guard=guard,
        out=out,
        cpus=cpus,
        findings=findings,
        inherited=inherited,
        expected=expected,
        ktap=ktap,
        attendant=attendant,
    )


def judge_host(
    options: Options, reporter: Reporter, signals: Signals
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Look at the host, say what there is to say, and return it, with how long it will take.

    Raises HostUnfitError if something refuses the run that has not been accepted; only that is
    told then.
    """
    findings, refusals, expected = in_child.call(lambda: examine(options), signals.let_in)
    if refusals:
        for refusal in refusals[:-1]:
            reporter.error(refusal)
        raise HostUnfitError(refusals[-1])
    assert expected is not None, "only a run that is refused is not estimated"
    reporter.hint(estimate.line(expected))
    for finding in findings:
        if finding["severity"] == "note":
            reporter.note(f"{finding['name']}: {finding['line']}")
        else:
            reporter.warning(finding["line"])
    return findings, expected


def _settle(reporter: Reporter, signals: Signals) -> dict[str, Any]:
    """Set back what the starter has given us, as far as it can be; return it, and say so.

    Most have nothing to set back, and need not have in memory how to.
    """
    if in_child.call(_is_usual, signals.let_in):
        return {}
    from .inherited import table

    was = table.settle()
    if was:
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in was.items())
        reporter.hint(f"set back for this run, as it would change the figures: {told}")
    return was


def _is_usual() -> bool:
    from .inherited import table

    return table.is_usual()


def examine(options: Options) -> tuple[list[dict[str, Any]], list[str], dict[str, Any] | None]:
    """Return what is found; of it what refuses a run, in words; and how long a run would take."""
    from .preflight import verdict

    host = verdict.this_host(options)
    findings = verdict.examine(options, host)
    refusals = [verdict.refusal(finding) for finding in verdict.refused(findings)]
    return findings, refusals, None if refusals else host.estimate
