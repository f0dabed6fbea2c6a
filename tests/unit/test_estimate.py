# SPDX-License-Identifier: GPL-2.0-only
"""How long a run takes: estimated from a probe, made again from what is measured, and shown."""

from __future__ import annotations

import gzip
import json
import os
import pty
import re
import select
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from page_alloc_bench.runner import options
from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.measuring import estimate
from page_alloc_bench.runner.measuring.estimate import Forecast
from page_alloc_bench.runner.measuring.findlimit import probe
from page_alloc_bench.runner.result import document as result
from page_alloc_bench.runner.telling import progress
from page_alloc_bench.runner.telling.progress import Reporter

GIB = 1 << 30
CPUS = tuple(sorted(os.sched_getaffinity(0)))


def record(
    arguments: str = "", *, gib: float = 1.0, rate: float = 1.0, first: float = 1.0
) -> dict[str, Any]:
    """An estimate for a machine of so many GiB that are filled at so many GiB/s."""
    parsed = options.parse(arguments.split())
    made: dict[str, Any] = {
        "estimated_s": None,
        "actual_s": None,
        "fills": 2 * parsed.iterations * len(parsed.alloc_orders),
        "fill_bytes": int(gib * GIB),
        "swap_bytes": 0,
        "cold": True,
        "probe": {
            "bytes": 30 << 20,
            "fills": 5,
            "duration_s": 1.0,
            "first_bytes_per_second": int(first * GIB),
            "bytes_per_second": int(rate * GIB),
        },
        "reason": None,
    }
    made["estimated_s"] = sum(step.all_s for step in estimate.steps(parsed, made))
    return made


def unknown(arguments: str = "") -> dict[str, Any]:
    """An estimate that could not be made."""
    return {**record(arguments), "estimated_s": None, "probe": None, "reason": "no memory"}


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def play(
    forecast: Forecast, clock: Clock, arguments: str, speed: float
) -> Iterator[tuple[float, float | None]]:
    """Let a run happen that is slower than estimated by a factor; yield the time, and what is left.

    Fills give their news ten times each.
    """
    parsed = options.parse(arguments.split())
    for step in estimate.steps(parsed, record(arguments)):
        forecast.begin(step.phase, step.order)
        for _ in range(step.fills):
            forecast.filling(0)
            for tenth in range(1, 11):
                clock.now += step.each_s * speed / 10
                forecast.filling(tenth * GIB // 10)
                yield clock.now, forecast.left_s()
            forecast.filled()
            yield clock.now, forecast.left_s()
        if not step.fills:
            clock.now += step.each_s
    yield clock.now, forecast.left_s()


def test_an_estimate_grows_with_memory_iterations_and_orders() -> None:
    one = record("--iterations 1 --alloc-orders 0")["estimated_s"]
    assert 2 < one < 5  # a fill of a second, one beside the antagonist, and what is around them
    assert record("--iterations 10 --alloc-orders 0")["estimated_s"] == pytest.approx(
        10 * one, rel=0.2
    )
    assert record("--iterations 1")["estimated_s"] == pytest.approx(2 * one, rel=0.1)
    big = record("--iterations 1 --alloc-orders 0", gib=1024)["estimated_s"]
    assert 1000 * 2 < big < 1024 * 4
    slow = record("--iterations 1 --alloc-orders 0", first=0.5)["estimated_s"]
    assert slow == pytest.approx(one + 1.1, abs=0.1)  # only the first fill is slow


@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0])
def test_what_is_left_comes_true_once_something_was_measured(speed: float) -> None:
    arguments, clock = "--iterations 3 --alloc-orders 0,4", Clock()
    forecast = Forecast(options.parse(arguments.split()), record(arguments), clock)
    assert forecast.left_s() == pytest.approx(record(arguments)["estimated_s"])
    told = list(play(forecast, clock, arguments, speed))
    end = told[-1][0]
    for now, left in told[5:-1]:
        assert left == pytest.approx(end - now, rel=0.25, abs=0.6)
    assert told[-1][1] == pytest.approx(0, abs=0.5)
    assert (forecast.number, forecast.count) == (12, 12)


def test_without_a_probe_nothing_is_left_to_tell_until_a_fill_is_over() -> None:
    arguments, clock = "--iterations 2 --alloc-orders 0", Clock()
    forecast = Forecast(options.parse(arguments.split()), unknown(arguments), clock)
    forecast.begin("configure", 0)
    assert forecast.left_s() is None
    forecast.begin("idle", 0)
    forecast.filling(0)
    assert forecast.left_s() is None
    clock.now += 100
    forecast.filled()
    left = forecast.left_s()
    assert left is not None
    assert 300 < left < 600  # another of these, and two beside the antagonist


def test_a_fill_that_goes_on_is_news_already() -> None:
    """On a terabyte it takes minutes until the first is over."""
    arguments, clock = "--iterations 5", Clock()
    forecast = Forecast(options.parse(arguments.split()), record(arguments), clock)
    forecast.begin("idle", 0)
    forecast.filling(0)
    clock.now += 100
    forecast.filling(GIB // 2)  # 0.5 s were expected
    left = forecast.left_s()
    assert left is not None
    assert left > 20 * 150


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (99.4, "99 s"),
        (99.6, "1 min 40 s"),
        (599, "9 min 59 s"),
        (601, "10 min"),
        (5940, "99 min"),
        (6000, "1 h 40 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_durations_are_told_as_people_do(seconds: float, text: str) -> None:
    assert estimate.duration(seconds) == text


def test_the_estimate_is_one_line_and_says_what_it_is_made_of() -> None:
    line = estimate.line(record("--iterations 50", gib=1007.25, rate=12.5))
    assert re.fullmatch(
        r"the run takes about \d+ h \d+ min: 200 fills of 1,007.25 GiB at 12.50 GiB/s", line
    )
    assert len(f"page-alloc-bench: {line}") <= 100
    assert "no memory" in estimate.line(unknown())
    assert "swap" in estimate.line({**record(), "swap_bytes": GIB})


def test_how_far_it_was_off_is_told_at_the_end() -> None:
    assert estimate.outcome(record()) == ""  # cut short
    told = estimate.outcome({**record(), "estimated_s": 80, "actual_s": 100})
    assert told == "measuring took 1 min 40 s; 80 s were estimated (+25%)"
    assert estimate.outcome({**unknown(), "actual_s": 100}) == "measuring took 1 min 40 s"


def test_what_a_timeout_costs_is_told_phase_by_phase() -> None:
    def lost(timeout: float) -> list[str]:
        arguments = f"--iterations 1 --alloc-orders 0,4 --timeout-s {timeout}"
        return estimate.lost(options.parse(arguments.split()), record(arguments))

    whole = ["order 0, idle", "order 4, idle", "order 0, antagonized", "order 4, antagonized"]
    assert lost(0.5) == whole
    assert lost(2) == whole[1:]
    assert lost(1000) == []


RECORDED = sorted((Path(__file__).parents[1] / "data/results").glob("*/*.json.gz"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_sum_of_real_runs_is_what_the_speed_of_their_fills_says(path: Path) -> None:
    """A probe that had seen that speed would have been right within a factor of 1.5."""
    document = json.loads(gzip.decompress(path.read_bytes()))
    run = document["run"]
    orders, iterations = run["parameters"]["alloc_orders"], run["parameters"]["iterations"]
    sizes = [size for order in orders for size in document[f"idle_available_bytes_order{order}"]]
    times = [ns for order in orders for ns in document[f"idle_findlimit_duration_ns_order{order}"]]
    speeds = [size / ns * 1e9 for size, ns in zip(sizes, times)]
    arguments = f"--iterations {iterations} --alloc-orders {','.join(map(str, orders))}"
    made = record(
        arguments,
        gib=run["machine"]["memory_available_bytes"] / GIB,
        rate=statistics.median(speeds[1:]) / GIB,
        first=speeds[0] / GIB,
    )
    actual = sum(phase["duration_s"] for phase in run["phases"])
    assert 1 / 1.5 < actual / made["estimated_s"] < 1.5


# The probe, on this very host.


@pytest.mark.parametrize("thp", ["inherit", "always", "never"])
def test_the_probe_takes_little_memory_for_little_time_and_gives_it_back(thp: str) -> None:
    available = probe.available_bytes()
    start = time.monotonic()
    seen = probe.measure(CPUS, thp, no_swap=False)
    assert seen.duration_s <= time.monotonic() - start
    assert 0 < seen.probe_bytes <= 0.03 * available
    assert 1e-12 < seen.later < 1e-7
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_probe_that_is_slow_is_cut_off_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine so large that its share of the memory takes many seconds."""
    taken = 0.9 * procfs.meminfo()["MemAvailable"]
    monkeypatch.setattr(probe, "available_bytes", lambda: int(taken))
    monkeypatch.setattr(probe, "LIFE_S", 0.15)
    seen = probe.measure(CPUS, "inherit", no_swap=False)
    assert 0 < seen.probe_bytes < 0.03 * taken


def test_where_nothing_can_be_filled_that_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> probe.Speed:
        raise RunnerError("the kernel maps no page at all: Cannot allocate memory")

    monkeypatch.setattr(probe, "measure", refuse)
    made = estimate.make(options.parse([]), CPUS)
    assert made["estimated_s"] is made["probe"] is None
    assert "Cannot allocate memory" in made["reason"]


def test_an_estimate_is_as_the_schema_has_it() -> None:
    schema = result.schema()["properties"]["run"]["properties"]["estimate"]
    for made in (estimate.make(options.parse(["--iterations", "1"]), CPUS), unknown()):
        jsonschema.Draft202012Validator(schema).validate(made)


# What is shown.


@contextmanager
def stderr_as(descriptor: int) -> Iterator[None]:
    saved = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def on_terminal(act: Callable[[Reporter], object]) -> list[str]:
    """Return each line that a terminal of 80 columns was shown, in the order of time."""
    leader, follower = pty.openpty()
    try:
        with stderr_as(follower):
            act(Reporter())
        text = b""
        while select.select([leader], [], [], 0)[0]:
            text += os.read(leader, 1 << 16)
        return re.split(r"\r\x1b\[K|\r?\n", text.decode())
    finally:
        os.close(leader)
        os.close(follower)


def test_a_terminal_sees_phase_part_and_time_left_in_80_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "UPDATE_S", 0)
    arguments = "--iterations 1000000 --alloc-orders 10,4"

    def act(reporter: Reporter) -> None:
        reporter.expect(Forecast(options.parse(arguments.split()), record(arguments, gib=1)))
        reporter.phase("order 10, antagonized", "antagonized", 10)
        reporter.tick(", iteration 1 of 5", GIB // 4)
        reporter.tick(", iteration 1000000 of 1000000", GIB // 2)

    lines = [line for line in on_terminal(act) if line]
    assert max(map(len, lines)) < 80
    assert "5 of 12: order 10, antagonized" in lines[0]
    assert re.search(r"5 of 12: order 10, antagonized, iteration 1 of 5: 25%, .* left$", lines[1])
    assert re.search(r"iteration 1000000 of 1000000: 50%", lines[2])


def test_without_a_terminal_there_is_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    arguments = "--iterations 50 --alloc-orders 0"
    reporter = Reporter()
    reporter.expect(Forecast(options.parse(arguments.split()), record(arguments, gib=100), clock))
    reporter.phase("order 0, idle", "idle", 0)
    for number in range(1, 51):
        for second in range(100):
            reporter.tick(f", iteration {number} of 50", second * GIB)
            clock.now += 1
        reporter.finished(f", iteration {number} of 50: 100.000 GiB", last=number == 50)
    lines = capfd.readouterr().err.splitlines()
    stamps = [float(re.findall(r"^\[ *([\d.]+) s\]", line)[0]) for line in lines]
    assert all(later - earlier >= 60 for earlier, later in zip(stamps, stamps[1:-1]))
    assert len(lines) >= 5000 // 61
    assert max(map(len, lines)) <= 80
    assert re.search(r"order 0, idle \(phase 2 of 6, .* left\)$", lines[0])
    assert re.search(r"order 0, idle, iteration 1 of 50: 60%, .* left$", lines[1])
    assert lines[-1].endswith("order 0, idle, iteration 50 of 50: 100.000 GiB")


def test_a_quiet_run_says_none_of_it(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[dict[str, Any]] = []
    reporter = Reporter(quiet=True, tell=told.append)
    reporter.expect(Forecast(options.parse([]), record()))
    reporter.phase("order 0, idle", "idle", 0)
    reporter.tick(", iteration 1 of 5", 0)
    reporter.finished(", iteration 1 of 5: 1 GiB")
    assert capfd.readouterr().err == ""
    assert (told[0]["phase_number"], told[0]["phases"]) == (2, 12)
    assert told[0]["left_s"] > 0
