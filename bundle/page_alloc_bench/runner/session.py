# SPDX-License-Identifier: GPL-2.0-only
"""One run from the first check to the last trace removed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from page_alloc_bench import __version__

from . import preflight
from .detached import whereabouts
from .errors import (
    EXIT_COMPLETE,
    EXIT_FAILED,
    EXIT_HOST_UNFIT,
    EXIT_USAGE,
    HostUnfitError,
    NobodyListens,
    RunnerError,
    Stop,
    describe,
)
from .kernel import mounts, procfs
from .lifetime import claim as single
from .lifetime import in_child, oom_score, watchdog
from .lifetime.scratch import Scratch, remove_tree
from .lifetime.signals import Signals
from .measuring import estimate
from .module import loading
from .options import Options, check_cpus, check_orders
from .result import columns
from .telling import output, streams
from .telling.progress import Reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .attended import Attendant
    from .bundle_file.archive import Archive
    from .module.device import Device
    from .result.document import Document
    from .telling.ktap import Ktap

_UNLOAD_S = 30.0


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
            session = _prepare(
                stack, options, signals, scratch, reporter=reporter, ktap=ktap, attendant=attendant
            )
        except (RunnerError, Stop, OSError) as error:
            with signals.deferred():
                signals.finish()
                reporter.error(describe(error))
                if ktap is not None:
                    ktap.bail_out(describe(error))
                return exit_code(error)
        return session.run()
    raise AssertionError("the stack swallows nothing")


def _begin_ktap(options: Options, signals: Signals, reporter: Reporter) -> Ktap:
    """Begin to tell the run on stdout as KTAP. Raises UsageError if stdout takes nothing."""
    from .telling.ktap import Ktap

    out = output.open_output("-", lambda _: None)

    def write(text: str) -> None:
        reporter.clear_line()
        out.write([text], signals.let_in)

    return Ktap(write, options.alloc_orders)


def _prepare(
    stack: ExitStack,
    options: Options,
    signals: Signals,
    scratch: Scratch,
    *,
    reporter: Reporter,
    ktap: Ktap | None,
    attendant: Attendant | None,
) -> Session:
    """Check what can be checked before anything is changed, and set up what cleans up."""
    if os.geteuid() != 0:
        raise HostUnfitError(preflight.NOT_ROOT)
    mounts.require()
    cpus = check_cpus(options.cpus, os.sched_getaffinity(0))
    check_orders(options.alloc_orders, procfs.largest_order())
    with signals.deferred():
        claim = stack.enter_context(single.claim())
        inherited = _settle(reporter, signals)
        findings, expected = _preflight(options, reporter, signals)
        stack.enter_context(oom_score.from_oom_killer())
        locked = [attendant.directory] if attendant is not None else []
        dog = watchdog.Watchdog([claim.fileno(), *locked])
        stack.callback(dog.dismiss)
        if scratch.path and not scratch.keep:
            dog.expect(watchdog.TREE, scratch.path)
            stack.callback(scratch.remove)
            scratch.take_over()
        out = output.open_output(
            options.output_path,
            lambda path: dog.expect(watchdog.FILE, path),
            stdout_taken=ktap is not None,
            keep=True,
        )
        stack.callback(out.discard)
    if out.kept_as:
        reporter.hint(f"the result will be in {out.kept_as}")
        reporter.hint("--output-path FILE puts it elsewhere, --output-path none keeps none")
    reporter.watch_stdout(needed=out.to_stdout or ktap is not None)
    return Session(
        options=options,
        scratch=scratch,
        signals=signals,
        reporter=reporter,
        dog=dog,
        out=out,
        cpus=cpus,
        findings=findings,
        inherited=inherited,
        expected=expected,
        ktap=ktap,
        attendant=attendant,
    )


def _preflight(
    options: Options, reporter: Reporter, signals: Signals
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Look at the host, say what there is to say, and return it, with how long it will take.

    Raises HostUnfitError if something refuses the run that has not been accepted; only that is
    told then.
    """
    findings, refusals, expected = in_child.call(lambda: _examine(options), signals.let_in)
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


def _examine(options: Options) -> tuple[list[dict[str, Any]], list[str], dict[str, Any] | None]:
    """Return what is found; of it what refuses a run, in words; and how long a run would take."""
    from .preflight import verdict

    host = verdict.this_host(options)
    findings = verdict.examine(options, host)
    refusals = [verdict.refusal(finding) for finding in verdict.refused(findings)]
    return findings, refusals, None if refusals else host.estimate


class Session:
    """A run that has been prepared."""

    def __init__(
        self,
        *,
        options: Options,
        scratch: Scratch,
        signals: Signals,
        reporter: Reporter,
        dog: watchdog.Watchdog,
        out: output.Output,
        cpus: list[int],
        findings: list[dict[str, Any]],
        inherited: dict[str, Any],
        expected: dict[str, Any],
        ktap: Ktap | None,
        attendant: Attendant | None,
    ) -> None:
        self._options = options
        self._scratch = scratch
        self._signals = signals
        self._reporter = reporter
        self._dog = dog
        self._out = out
        self._cpus = cpus
        self._findings = findings
        self._inherited = inherited
        self._expected = expected  # run.estimate
        self._ktap = ktap
        self._attendant = attendant
        self._document: Document | None = None
        self._built: tuple[bytes, dict[str, Any]] | None = None
        self._unloaded: bool | None = None  # None: nothing to unload
        self._written = False

    def run(self) -> int:
        """Measure and write the result; return the exit code. The host is clean afterwards."""
        self._signals.set_timeout(self._options.timeout_s)
        ending = self._measure_and_clean()
        code = EXIT_COMPLETE if ending is None else exit_code(ending)
        if ending is not None:
            self._reporter.error(describe(ending))
        if code == EXIT_COMPLETE and self._unloaded is False:
            code = EXIT_FAILED
        if self._document is not None and code not in (EXIT_USAGE, EXIT_HOST_UNFIT):
            code = self._deliver(self._document, ending, code)
        if self._ktap is not None:
            code = self._end_ktap(self._ktap, ending, code)
        self._signals.finish()
        return code

    def _measure_and_clean(self) -> BaseException | None:
        """Measure and leave the host as it was; return what ended the measurement early.

        Of the two try blocks the outer one catches a Stop that arrives between the end of the
        measurement and finish(); there can be but one.
        """
        host = ExitStack()
        ending: BaseException | None = None
        try:
            try:
                self._measure(host)
            finally:
                self._signals.finish()
        except (RunnerError, Stop, OSError) as error:
            ending = error
        except Exception as error:  # a fault of ours must not cost the user what was measured
            streams.say_traceback()
            ending = RunnerError(f"internal error: {type(error).__name__}: {error}")
        finally:
            host.close()
        return ending

    def _measure(self, host: ExitStack) -> None:
        from .workloads import available_memory

        if self._options.build_on_target:
            self._build_module()
        with self._signals.deferred():
            self._document = self._begin_document()
            device = self._load(host)
            if self._ktap is not None:
                self._ktap.loaded(self._document)
        if self._attendant is not None:
            self._attendant.begun()
        self._reporter.expect(estimate.Forecast(self._options, self._expected))
        start = time.monotonic()
        available_memory.Workload(
            options=self._options,
            cpus=self._cpus,
            device=device,
            document=self._document,
            reporter=self._reporter,
            signals=self._signals,
            on_phase_end=self._ktap.phase_ended if self._ktap is not None else None,
        ).run()
        self._expected["actual_s"] = round(time.monotonic() - start, 1)

    def _build_module(self) -> None:
        """Compile the module here if the bundle holds none for this kernel; nothing of it stays."""
        from .bundle_file import target_build

        sources = in_child.call(_sources_if_needed, self._signals.let_in)
        if sources is None:
            return
        self._reporter.note("the bundle holds no module for this kernel: compiling it here")
        place = target_build.place(self._scratch.path)
        self._dog.expect(watchdog.TREE, place)
        try:
            self._built = target_build.build(sources, place, self._compiling)
        finally:
            with self._signals.deferred():
                if not self._scratch.keep:
                    remove_tree(place)
                self._dog.forget(watchdog.TREE, place)

    @contextmanager
    def _compiling(self, group: int) -> Iterator[None]:
        """Have the watchdog end this process group, should we die meanwhile."""
        self._dog.expect(watchdog.GROUP, str(group))
        try:
            yield
        finally:
            self._dog.forget(watchdog.GROUP, str(group))

    def _load(self, host: ExitStack) -> Device:
        """Load the module for this kernel and open its device; host undoes both."""
        from .module.device import AbiMismatchError, Device

        image, entry = self._built or in_child.call(_module, self._signals.let_in)
        self._built = None
        self._reporter.note(f"loading {entry['name']}, {len(image):,} bytes")
        if not self._dog.expect(watchdog.MODULE, loading.NAME):
            self._warn("the watchdog is gone: a kill -9 of this process would leave the module")
        warnings = loading.load(image)
        host.callback(self._unload)
        for warning in warnings:
            self._warn(warning)
        node_made = loading.make_device_node()
        try:
            return host.enter_context(Device())
        except AbiMismatchError as error:
            raise RunnerError(f"{error}; the bundle is not of one piece: build it again") from error
        except OSError as error:
            raise HostUnfitError(
                f"cannot open {loading.device_path()}: {error.strerror}"
            ) from error
        finally:
            if node_made:
                os.unlink(loading.device_path())

    def _unload(self) -> None:
        """Unload the module; a failure is told, and does not keep the rest from being cleaned."""
        try:
            loading.unload(loading.NAME, time.monotonic() + _UNLOAD_S)
        except RunnerError as error:
            self._unloaded = False
            self._warn(str(error))
        else:
            self._unloaded = True
            self._dog.forget(watchdog.MODULE, loading.NAME)

    def _begin_document(self) -> Document:
        """Return a document that holds every fact of the run, and no measurement yet."""
        from .result.document import Document

        built = self._built[1] if self._built else None
        facts = in_child.call(lambda: _look_around(self._cpus, built), self._signals.let_in)
        document = Document(
            {
                "tool_version": __version__,
                "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **facts,
                "inherited": {"in_force": facts["inherited"], "reset": self._inherited},
                "cpus": self._cpus,
                "seed": self._options.seed,
                "parameters": _parameters(self._options),
                "preflight": [
                    {name: finding[name] for name in finding if name != "line"}
                    for finding in self._findings
                ],
                "estimate": self._expected,
            }
        )
        for finding in self._findings:
            if finding["severity"] != "note":
                document.warn(finding["line"])
        return document

    def _deliver(self, document: Document, ending: BaseException | None, code: int) -> int:
        """Write the result and the summary; return the exit code.

        A signal cuts this short only where the reader of a pipe keeps us waiting: an impatient
        second Ctrl-C must not cost what is about to be written.
        """
        reason = None if ending is None else describe(ending)
        document.end(complete=ending is None, reason=reason, exit_code=code)
        try:
            with self._signals.deferred():
                self._signals.rearm()
                lost = isinstance(ending, NobodyListens) and ending.stream == "stdout"
                if self._out.wanted and not lost:
                    self._out.write(document.chunks(), self._signals.let_in)
                    self._written = True
                    if self._attendant is not None:
                        self._attendant.written()
                self._summarize(document)
                self._signals.finish()
        except (RunnerError, Stop) as error:
            self._reporter.error(describe(error))
            return code or exit_code(error)
        return code

    def _end_ktap(self, ktap: Ktap, ending: BaseException | None, code: int) -> int:
        """Tell how the run ended on stdout; return the exit code."""
        written = self._written if self._out.wanted else None
        try:
            with self._signals.deferred():
                self._signals.rearm()
                ktap.end(ending, unloaded=self._unloaded, written=written)
                self._signals.finish()
        except Stop as stop:
            self._reporter.error(describe(stop))
            return code or exit_code(stop)
        if ktap.failure is not None:
            self._reporter.error(describe(ktap.failure))
            return code or EXIT_FAILED
        return code

    def _summarize(self, document: Document) -> None:
        if not self._options.quiet:
            from .result import summary

            width = columns.of(2, summary.WIDTH)
            self._reporter.table(summary.render(document, width, self._reporter.told))
            outcome = estimate.outcome(self._expected)
            if outcome:
                self._reporter.hint(outcome)
        if self._out.kept_as:
            self._reporter.hint(f"the result is in {self._out.kept_as}")
        elif not self._out.wanted and self._options.output_path is None:
            self._reporter.hint("to keep the result, give --output-path FILE")

    def _warn(self, text: str) -> None:
        self._reporter.warning(text)
        if self._document is not None:
            self._document.warn(text)


def _look_around(cpus: list[int], built: dict[str, Any] | None) -> dict[str, Any]:
    """Return the facts of bundle and host.

    built: the entry of the module, if it was compiled here; the manifest gets it too.
    """
    from .bundle_file import archive
    from .inherited import table
    from .kernel import host_facts as facts

    bundle = archive.open_archive()
    manifest = bundle.manifest()
    if built:
        manifest["modules"].append(built)
    return {
        "bundle": manifest,
        "python": facts.python(),
        "kernel": facts.kernel(built or _entry(bundle)),
        "machine": facts.machine(cpus),
        "inherited": table.look(),
    }


def _module() -> tuple[bytes, dict[str, Any]]:
    """Return the module for the running kernel and its entry in the manifest."""
    from .bundle_file import archive

    bundle = archive.open_archive()
    entry = _entry(bundle)
    return bundle.module(entry), entry


def _sources_if_needed() -> dict[str, bytes] | None:
    """Return the module's source, None if the bundle holds a module for the running kernel."""
    from .bundle_file import archive, target_build

    bundle = archive.open_archive()
    try:
        _entry(bundle)
    except archive.NoModuleError:
        return target_build.sources_of(bundle.names(), bundle.read)
    return None


def _entry(bundle: Archive) -> dict[str, Any]:
    """Return the manifest's entry of the module for the running kernel."""
    uname = os.uname()
    return bundle.entry(uname.release, uname.machine)


def _parameters(options: Options) -> dict[str, Any]:
    """Return the options that shape the measurement."""
    names = (
        "iterations",
        "alloc_orders",
        "timeout_s",
        "latencies",
        "findlimit_mmap_size_gib",
        "held",
        "spread",
        "seed",
        "sample_size",
        "thp",
        "no_swap",
        "stall_s",
        "accept",
    )
    from .workloads.available_memory import TIME_ONE_IN

    return {
        **{name: getattr(options, name) for name in names},
        "time_one_in": TIME_ONE_IN[options.latencies],
    }


def exit_code(error: BaseException) -> int:
    """Return the exit code of a run that error ended."""
    code = getattr(error, "exit_code", EXIT_FAILED)
    assert isinstance(code, int)
    return code
