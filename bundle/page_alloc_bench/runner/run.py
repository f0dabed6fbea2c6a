# SPDX-License-Identifier: GPL-2.0-only
"""A run that has been prepared: measured, told, and cleaned up after."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from page_alloc_bench import __version__

from . import workload
from .command_line import parameters
from .errors import (
    EXIT_COMPLETE,
    EXIT_FAILED,
    EXIT_HOST_UNFIT,
    EXIT_SIGNAL_BASE,
    EXIT_USAGE,
    HostUnfitError,
    NobodyListens,
    RunnerError,
    Stop,
    describe,
    exit_code,
)
from .lifetime import in_child, watchdog
from .lifetime.scratch import Scratch, remove_tree
from .lifetime.signals import Signals
from .measuring import estimate
from .module import loading
from .options import Options
from .result import columns
from .telling import output, streams
from .telling.progress import Reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .attended import Attendant
    from .module.device import Device
    from .result.document import Document
    from .telling.ktap import Ktap

_UNLOAD_S = 30.0
# Of a result that was written before the run's end, and not again.
_CUT_OFF = "the run was killed, or the host crashed: what is here was written before"
_KILLED = EXIT_SIGNAL_BASE + 9


class Run:
    """A run that has been prepared."""

    def __init__(
        self,
        *,
        options: Options,
        scratch: Scratch,
        signals: Signals,
        reporter: Reporter,
        guard: watchdog.Watchdog,
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
        self._guard = guard
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
        from .measuring.bench import Bench

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
        bench = Bench(
            options=self._options,
            cpus=self._cpus,
            device=device,
            document=self._document,
            reporter=self._reporter,
            signals=self._signals,
            on_phase_end=self._ktap.phase_ended if self._ktap is not None else None,
            on_case_end=self._keep_so_far,
        )
        for each in workload.chosen(self._options):
            each.run(bench)
        self._expected["actual_s"] = round(time.monotonic() - start, 1)

    def _build_module(self) -> None:
        """Compile the module here if the bundle holds none for this kernel; nothing of it stays."""
        from .bundle_file import contents, target_build

        sources = in_child.call(contents.sources_if_needed, self._signals.let_in)
        if sources is None:
            return
        self._reporter.note("the bundle holds no module for this kernel: compiling it here")
        place = target_build.place(self._scratch.path)
        self._guard.expect(watchdog.TREE, place)
        try:
            self._built = target_build.build(sources, place, self._compiling)
        finally:
            with self._signals.deferred():
                if not self._scratch.keep:
                    remove_tree(place)
                self._guard.forget(watchdog.TREE, place)

    @contextmanager
    def _compiling(self, group: int) -> Iterator[None]:
        """Have the watchdog end this process group, should we die meanwhile."""
        self._guard.expect(watchdog.GROUP, str(group))
        try:
            yield
        finally:
            self._guard.forget(watchdog.GROUP, str(group))

    def _load(self, host: ExitStack) -> Device:
        """Load the module for this kernel and open its device; host undoes both."""
        from .module.device import AbiMismatchError, Device

        image, entry = self._built or in_child.call(_module_and_entry, self._signals.let_in)
        self._built = None
        self._reporter.note(f"loading {entry['name']}, {len(image):,} bytes")
        if not self._guard.expect(watchdog.MODULE, loading.NAME):
            self._warn(
                "the watchdog has ended: after a kill -9 of this process the module stays loaded"
            )
        warnings = loading.load(image)
        host.callback(self._unload)
        for warning in warnings:
            self._warn(warning)
        node_made = loading.make_device_node()
        try:
            return host.enter_context(Device())
        except AbiMismatchError as error:
            raise RunnerError(
                f"{error}; the parts of the bundle do not fit together: build it again"
            ) from error
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
            self._guard.forget(watchdog.MODULE, loading.NAME)

    def _begin_document(self) -> Document:
        """Return a document that holds every fact of the run, and no measurement yet."""
        from .result.document import Document

        built = self._built[1] if self._built else None
        facts = in_child.call(lambda: _look_around(self._cpus, built), self._signals.let_in)
        document = Document(
            {
                "tool_version": __version__,
                "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **({"labels": self._options.label} if self._options.label else {}),
                **facts,
                "inherited": {"in_force": facts["inherited"], "reset": self._inherited},
                "cpus": self._cpus,
                "seed": self._options.seed,
                "parameters": parameters.of_run(self._options),
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

    def _keep_so_far(self) -> None:
        """Write what is measured so far; that it could not be is not the end of the run."""
        assert self._document is not None
        try:
            keep_so_far(self._document, self._out)
        except RunnerError as error:
            self._warn(str(error))

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


def keep_so_far(document: Document, out: output.Output) -> None:
    """Write what is measured so far, should the host not live to the end. Raises RunnerError."""
    document.end(complete=False, reason=_CUT_OFF, exit_code=_KILLED)
    out.keep_so_far(document.chunks())


def _module_and_entry() -> tuple[bytes, dict[str, Any]]:
    from .bundle_file import contents

    return contents.module_for_this_kernel()


def _look_around(cpus: list[int], built: dict[str, Any] | None) -> dict[str, Any]:
    from .bundle_file import contents

    return contents.look_around(cpus, built)
