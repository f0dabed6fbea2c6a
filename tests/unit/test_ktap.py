# SPDX-License-Identifier: GPL-2.0-only
"""KTAP says what happened, as the kernel's specification has it, whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tap.parser  # type: ignore[import-untyped]

import ktap_reader
from ktap_reader import KtapError
from page_alloc_bench.runner import options
from page_alloc_bench.runner.errors import (
    HostUnfitError,
    Interrupted,
    RunnerError,
    TimedOut,
    UsageError,
)
from page_alloc_bench.runner.measuring.bench import PlannedPhase
from page_alloc_bench.runner.result.document import Document
from page_alloc_bench.runner.telling import output
from page_alloc_bench.runner.telling.ktap import Ktap
from page_alloc_bench.runner.workloads import available_memory

PHASES = ("configure", "idle", "steady_wait", "antagonized", "stop", "results")


class Run:
    """A run that is only told, not made."""

    def __init__(self, *orders: int) -> None:
        self.text = ""
        self.ktap = Ktap(self.write, orders, available_memory.phases(orders))
        self.document = Document({"kernel": {"release": "6.1.0", "machine": "x86_64"}})

    def write(self, text: str) -> None:
        assert text.endswith("\n")
        self.text += text

    def load(self) -> Run:
        self.ktap.loaded(self.document)
        return self

    def phase(self, order: int, name: str, error: BaseException | None = None) -> Run:
        self.ktap.phase_ended({"name": name, "order": order}, error)
        return self

    def measure(self, order: int, *, timed: bool = True, freed: int = 30) -> Run:
        put = self.document.put
        put("idle_available_bytes", order, [1000, 1100])
        put("antagonized_available_bytes", order, [900, 950])
        put("antagonist_held_bytes", order, [50, 60])
        put("kernel_page_allocs", order, [60])
        put("kernel_page_allocs_per_cpu", order, [30, 30])
        put("kernel_page_frees_per_cpu", order, [30, freed])
        if timed:
            put("kernel_page_alloc_latencies_ns", order, [5, 7, 9])
            put("kernel_page_alloc_latency_max_ns", order, [11])
        for name in PHASES:
            self.phase(order, name)
        return self

    def values(self, order: int, *values: int) -> Run:
        self.document.put("idle_available_bytes", order, values)
        return self

    def end(
        self,
        error: BaseException | None = None,
        unloaded: bool | None = True,
        written: bool | None = None,
    ) -> ktap_reader.Report:
        self.ktap.end(error, unloaded=unloaded, written=written)
        return ktap_reader.read(self.text)


def results(report: ktap_reader.Report) -> dict[str, str]:
    return {test.name: test.result for test in report.tests}


def below(report: ktap_reader.Report, name: str) -> dict[str, str]:
    return {test.name: test.result for test in report.test(name).subtests}


def test_a_whole_run_passes() -> None:
    report = Run(0, 4).load().measure(0).measure(4).end(written=True)
    assert results(report) == {
        "loaded": "pass",
        "order_0": "pass",
        "order_4": "pass",
        "unloaded": "pass",
        "written": "pass",
        "complete": "pass",
    }
    assert set(below(report, "order_4").values()) == {"pass"}
    assert list(below(report, "order_4")) == [
        "configured",
        "idle",
        "steady",
        "antagonized",
        "stopped",
        "latencies",
        "reconciled",
    ]


def as_planned(*orders: int) -> list[PlannedPhase]:
    """Return what a run does, in the order of time."""
    return available_memory.phases(orders)


def test_idle_phases_come_first_and_are_told_in_their_orders() -> None:
    run = Run(0, 4, 9).load()
    for name, order in as_planned(0, 4, 9):
        if name == "idle":
            run.values(order, 1000 + order)
        run.phase(order, name)
    report = run.end()
    for order in (0, 4, 9):
        assert list(below(report, f"order_{order}")) == [
            "configured", "idle", "steady", "antagonized", "stopped", "latencies", "reconciled",
        ]  # fmt: skip
        told = report.test(f"order_{order}")
        assert told.sub("idle").diagnostics == [
            f"idle_available_bytes_order{order}: {1000 + order}"
        ]
        assert told.sub("idle").result == "pass"
    # At once, too: where the host dies before its order, the last lines have it.
    at_once = run.text.index("idle_available_bytes_order9")
    assert at_once < run.text.index("ok 3 steady")


def test_a_later_idle_phase_that_fails_is_told_in_its_order() -> None:
    run = Run(0, 4, 9).load().phase(0, "configure").phase(0, "idle")
    report = run.phase(4, "idle", Interrupted(2)).end(Interrupted(2))
    others = ("steady", "antagonized", "stopped", "latencies", "reconciled")
    assert below(report, "order_0") == {
        "configured": "pass", "idle": "pass", **dict.fromkeys(others, "skip")
    }  # fmt: skip
    assert below(report, "order_4") == {
        "configured": "skip", "idle": "fail", **dict.fromkeys(others, "skip")
    }  # fmt: skip
    assert report.test("order_4").sub("idle").text == "stopped by SIGINT"
    assert results(report)["order_9"] == "skip"
    assert results(report)["order_4"] == "fail"


def test_a_run_that_ends_before_an_order_still_tells_its_idle_phase() -> None:
    run = Run(0, 4).load()
    for name, order in as_planned(0, 4)[:5]:
        run.phase(order, name, TimedOut(30) if name == "antagonized" else None)
    report = run.phase(0, "stop").phase(0, "results").end(TimedOut(30))
    assert below(report, "order_0")["antagonized"] == "fail"
    assert below(report, "order_4")["idle"] == "pass"
    assert below(report, "order_4")["steady"] == "skip"
    assert results(report)["order_4"] == "pass"


def test_values_stand_before_the_result_that_they_explain() -> None:
    report = Run(4).load().measure(4).end()
    order = report.test("order_4")
    assert order.sub("idle").diagnostics == ["idle_available_bytes_order4: 1000 1100"]
    assert order.sub("antagonized").diagnostics == [
        "antagonized_available_bytes_order4: 900 950",
        "antagonist_held_bytes_order4: 50 60",
    ]
    assert order.sub("latencies").diagnostics == [
        "kernel_page_alloc_latencies_ns_order4: 3 samples, min 5, median 7, max 11"
    ]
    assert report.test("loaded").diagnostics == ["kernel 6.1.0 x86_64"]


def test_without_latencies_their_test_is_skipped_and_nothing_fails() -> None:
    report = Run(0).load().measure(0, timed=False).end()
    latencies = report.test("order_0").sub("latencies")
    assert (latencies.result, latencies.text) == ("skip", "no operation was timed")
    assert report.test("order_0").result == "pass"
    assert (report.test("written").result, report.test("written").text) == (
        "skip",
        "no --output-path",
    )


def test_blocks_that_were_not_freed_fail() -> None:
    report = Run(0).load().measure(0, freed=28).end()
    assert report.test("order_0").result == "fail"
    assert report.test("order_0").sub("reconciled").text == "2 blocks were allocated and not freed"


def test_what_ends_a_run_fails_and_the_rest_is_skipped() -> None:
    run = Run(0, 4, 9).load().measure(0).phase(4, "configure")
    run.document.append("idle_available_bytes", 4, 1000)
    report = run.phase(4, "idle", Interrupted(2)).end(Interrupted(2))
    assert below(report, "order_4") == {
        "configured": "pass",
        "idle": "fail",
        **dict.fromkeys(("steady", "antagonized", "stopped", "latencies", "reconciled"), "skip"),
    }
    idle = report.test("order_4").sub("idle")
    assert (idle.directive, idle.text) == ("ERROR", "stopped by SIGINT")
    assert idle.diagnostics == ["idle_available_bytes_order4: 1000"]
    assert results(report) == {
        "loaded": "pass",
        "order_0": "pass",
        "order_4": "fail",
        "order_9": "skip",
        "unloaded": "pass",
        "written": "skip",
        "complete": "fail",
    }


def test_a_timeout_has_its_own_directive_and_the_antagonist_is_still_counted() -> None:
    run = Run(0).load()
    for name in PHASES:
        run.phase(0, name, TimedOut(30) if name == "antagonized" else None)
    report = run.end(TimedOut(30))
    order = report.test("order_0")
    assert order.sub("antagonized").directive == "TIMEOUT"
    assert order.sub("reconciled").result == "pass"
    assert report.test("complete").text == "not finished within --timeout-s=30"


def test_a_stop_between_two_phases_skips_what_it_kept_from_happening() -> None:
    run = Run(0).load()
    for name in ("configure", "idle", "steady_wait", "stop", "results"):
        run.phase(0, name)
    report = run.end(Interrupted(15))
    assert below(report, "order_0")["antagonized"] == "skip"
    assert report.test("complete").result == "fail"


def test_a_module_that_cannot_be_loaded_fails() -> None:
    report = Run(0).end(RunnerError("Key was rejected by service"), unloaded=None)
    assert results(report) == {
        "loaded": "fail",
        "order_0": "skip",
        "unloaded": "skip",
        "written": "skip",
        "complete": "fail",
    }


def test_a_module_that_stays_and_a_lost_result_fail() -> None:
    report = Run(0).load().measure(0).end(unloaded=False, written=False)
    assert report.test("unloaded").result == "fail"
    assert report.test("written").result == "fail"


@pytest.mark.parametrize("error", [HostUnfitError("no module\nfor 6.1"), UsageError("order 99")])
def test_a_refusal_bails_out(error: RunnerError) -> None:
    report = Run(0).end(error, unloaded=None)
    assert report.bailed_out == str(error).replace("\n", " ")
    assert report.tests == []


def test_warnings_are_told_once_and_in_one_line() -> None:
    run = Run(0).load()
    run.document.warn("the child counted 1,\nwait4 says 2")
    report = run.measure(0).end()
    assert run.text.count("# warning: the child counted 1, wait4 says 2\n") == 1
    assert report.test("order_0").sub("configured").diagnostics[0].startswith("warning: ")


def test_lines_come_as_the_run_goes_on() -> None:
    run = Run(0, 4).load().phase(0, "configure")
    report = ktap_reader.read(run.text, whole=False)
    assert report.planned == 6
    assert run.text.endswith("    ok 1 configured\n".removeprefix("  "))


def test_a_reader_that_went_away_is_remembered_and_disturbs_nothing() -> None:
    def write(_text: str) -> None:
        raise RunnerError("cannot write the result to stdout: Broken pipe")

    ktap = Ktap(write, [0], available_memory.phases([0]))
    ktap.loaded(Document({"kernel": {"release": "6.1.0", "machine": "x86_64"}}))
    ktap.end(None, unloaded=True, written=None)
    assert "Broken pipe" in str(ktap.failure)


def whole() -> str:
    run = Run(0, 4).load().measure(0, timed=False).phase(4, "configure", RunnerError("no # memory"))
    run.end(RunnerError("no # memory"))
    return run.text


def test_an_independent_parser_of_tap_agrees() -> None:
    """KTAP is to be valid TAP, of which the nested results are lost."""
    lines = list(tap.parser.Parser().parse_text(whole()))
    plans = [line for line in lines if line.category == "plan"]
    tests = [line for line in lines if line.category == "test"]
    assert [plan.expected_tests for plan in plans] == [6]
    assert [(test.number, test.ok, test.skip) for test in tests] == [
        (1, True, False),
        (2, True, False),
        (3, False, False),
        (4, True, False),
        (5, True, True),
        (6, False, False),
    ]


def test_an_independent_parser_of_tap_sees_the_bail_out() -> None:
    run = Run(0)
    run.ktap.bail_out("only root can load a kernel module")
    lines = list(tap.parser.Parser().parse_text(run.text))
    assert [line.reason for line in lines if line.category == "bail"] == [
        "only root can load a kernel module"
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("KTAP version 1", "TAP version 13", 1),
        lambda text: text.replace("1..6", "1..5"),
        lambda text: text.replace("1..7", "1..8"),
        lambda text: text.replace("\n  ok 2", "\n  ok 3"),
        lambda text: text.replace("\n  ok 2", "\nok 2"),
        lambda text: text.replace("not ok 3 order_4", "ok 3 order_4"),
        lambda text: text.replace("  not ok 1", "  ok 1"),
        lambda text: text.replace("# kernel", "kernel"),
        lambda text: text.rstrip("\n"),
        lambda text: text + "ok 7 more\n",
    ],
)
def test_the_reader_of_these_tests_is_strict(spoil: Callable[[str], str]) -> None:
    text = whole()
    ktap_reader.read(text)
    assert spoil(text) != text
    with pytest.raises(KtapError):
        ktap_reader.read(spoil(text))


def run_module(*arguments: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run the runner as a user without rights, who is refused."""
    script = (
        "import os, sys; from page_alloc_bench.runner import __main__; "
        "os.geteuid = lambda: 65534; sys.exit(__main__.main())"
    )
    return subprocess.run(
        [sys.executable, "-B", "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(options.__file__).parents[2])},
        text=True,
        check=False,
        stderr=subprocess.PIPE,
        **kwargs,
    )


def test_a_real_refusal_bails_out_on_stdout() -> None:
    done = run_module("--ktap", "--alloc-orders=0,4,9", stdout=subprocess.PIPE)
    report = ktap_reader.read(done.stdout)
    assert (done.returncode, report.planned) == (3, 7)
    assert report.bailed_out == "only root can load a kernel module; run it with sudo"
    assert "only root" in done.stderr


def test_a_closed_stdout_is_refused() -> None:
    done = run_module("--ktap", preexec_fn=lambda: os.close(1))
    assert done.returncode == 2
    assert "stdout is closed" in done.stderr


@pytest.mark.parametrize("path", ["-", "/dev/stdout", "/proc/self/fd/1"])
def test_json_may_not_go_where_ktap_goes(path: str) -> None:
    with pytest.raises(UsageError, match="--ktap takes stdout"):
        output.open_output(path, lambda _: None, stdout_taken=True)


def test_json_goes_nowhere_unless_a_file_is_named() -> None:
    assert not output.open_output(None, lambda _: None, stdout_taken=True).wanted
