# SPDX-License-Identifier: GPL-2.0-only
"""The command line: what it takes, what it refuses, and what --help costs."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from page_alloc_bench.runner import options
from page_alloc_bench.runner.__main__ import main
from page_alloc_bench.runner.errors import UsageError
from page_alloc_bench.runner.module import abi
from page_alloc_bench.runner.result import document

SOURCES = Path(options.__file__).parents[2]
DEFAULTS = {
    "output_path": None,
    "iterations": 5,
    "alloc_orders": [0, 4],
    "workload": ["available-memory"],
    "quick": False,
    "depth": ["16", "h/2", "2h", "16h"],
    "free": ["fifo"],
    "duration_s": 5.0,
    "repeat": 3,
    "cpus_steps": ["all"],
    "gfp": ["kernel"],
    "distance": ["smt", "core", "node"],
    "freeing": ["half"],
    "per_call": [1, 16, 64, 512],
    "page_sizes": ["base", "thp"],
    "fault_by": ["processes"],
    "exits": 10,
    "exit_processes": 1,
    "exit_mib": 256,
    "timeout_s": 0,
    "latencies": "sampled",
    "findlimit_mmap_size_gib": 0,
    "cpus": None,
    "held": 1000,
    "spread": 1000,
    "seed": 1,
    "sample_size": 50_000,
    "thp": "inherit",
    "no_swap": False,
    "stall_s": 120,
    "accept": [],
    "ktap": False,
    "label": {},
    "quiet": False,
    "verbose": False,
    "list": False,
    "check": False,
    "info": False,
    "list_workloads": False,
    "preflight": False,
    "extract": None,
    "detach": False,
    "attach": False,
    "status": False,
    "stop": False,
    "keep": False,
    "build_on_target": False,
    "exact_allocs": 300_000,
    "counters": False,
    "keep_pages": ["movable", "pinned", "islands"],
    "huge_per_second": 64,
    "churn_percent": 90,
    "atomic_orders": [0, 3],
    "burst_blocks": 0,
    "bursts_per_second": 25,
    "fills": 5,
}


def test_defaults_are_those_of_the_documentation() -> None:
    assert vars(options.parse([])) == DEFAULTS


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--latencies"], "sampled"),
        (["-latencies"], "sampled"),
        (["--latencies", "all"], "all"),
        (["--latencies=none"], "none"),
        *([[f"--latencies={word}"], "sampled"] for word in ("true", "TRUE", "True", "t", "T", "1")),
        *([[f"-latencies={word}"], "none"] for word in ("false", "FALSE", "False", "f", "F", "0")),
        (["--latencies", "--quiet"], "sampled"),
    ],
)
def test_latencies_takes_gos_booleans_and_our_words(arguments: list[str], wanted: str) -> None:
    assert options.parse(arguments).latencies == wanted


def test_go_style_options_mean_what_they_meant_to_the_ancestor() -> None:
    parsed = options.parse(
        [
            "-output-path=a",
            "-iterations=3",
            "-alloc-orders",
            "2,1",
            "-timeout-s=9",
            "-findlimit-mmap-size-gib=7",
        ]
    )
    assert (parsed.output_path, parsed.iterations, parsed.alloc_orders) == ("a", 3, [2, 1])
    assert (parsed.timeout_s, parsed.findlimit_mmap_size_gib) == (9, 7)


def test_a_single_dash_is_taken_for_the_ancestors_options_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        options.parse(["-held=3"])
    assert "-held=3" in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--iterations=0"],
        ["--iterations=-1"],
        ["--iterations=x"],
        ["--iter=3"],  # no abbreviation: it would change meaning with the next option we add
        ["--alloc-orders="],
        ["--alloc-orders=0,0"],
        ["--alloc-orders=-1"],
        ["--alloc-orders=64"],
        ["--alloc-orders=0;4"],
        ["--timeout-s=-1"],
        ["--timeout-s=nan"],
        ["--latencies=maybe"],
        ["--cpus="],
        ["--cpus=3-1"],
        ["--cpus=a"],
        ["--cpus=0-99999999999"],
        ["--held=0"],
        [f"--held={abi.MAX_BLOCKS // 2 + 1}"],
        ["--spread=0"],
        ["--held=10", "--spread=11"],
        ["--seed=-1"],
        [f"--seed={2**64}"],
        [f"--seed={2**63}"],
        ["--sample-size=0"],
        [f"--sample-size={abi.MAX_SAMPLE + 1}"],
        ["--thp=maybe"],
        ["--quiet", "--verbose"],
        ["--list", "--check"],
        ["--extract"],
        ["--extract", ""],
        ["--output-path="],
        ["--unknown"],
        ["stray"],
    ],
)
def test_bad_usage_is_one_clear_line_and_exit_code_2(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse(arguments)
    out, err = capfd.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert err.startswith("page-alloc-bench: error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--alloc-orders", "zero"], "zero"),
        (["--held", "5", "--spread", "6"], "spread"),
        (["--iterations", "0"], "iterations"),
        (["--no-such-option"], "no-such-option"),
    ],
)
def test_bad_usage_names_what_is_wrong(
    arguments: list[str], word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse(arguments)
    assert ended.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert word in line


def test_cpu_lists_are_the_kernels_own() -> None:
    assert options.parse(["--cpus=8,0-3,2"]).cpus == [0, 1, 2, 3, 8]


@pytest.mark.parametrize(
    ("wanted", "allowed", "message"),
    [
        ([9], {0, 1, 2, 3}, "CPU 9 does not exist; --cpus may name 0-5"),
        ([0, 4, 5], {0, 1, 2, 3}, "CPU 4-5 is offline; --cpus may name 0-3"),
        ([0, 3], {0, 1}, "CPU 3 is not allowed"),
    ],
)
def test_a_cpu_that_cannot_be_used_is_named(
    wanted: list[int], allowed: set[int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "page_alloc_bench.runner.kernel.procfs.present_cpus", lambda: [0, 1, 2, 3, 4, 5]
    )
    monkeypatch.setattr("page_alloc_bench.runner.kernel.procfs.online_cpus", lambda: [0, 1, 2, 3])
    with pytest.raises(UsageError, match=message):
        options.check_cpus(wanted, allowed)


@pytest.mark.parametrize(
    ("arguments", "held", "spread"),
    [
        ([], 1000, 1000),
        (["--held=300"], 300, 300),
        (["--held=1"], 1, 1),
        (["--held=5000"], 5000, 1000),
        (["--held=300", "--spread=20"], 300, 20),
    ],
)
def test_the_spread_follows_what_is_held(arguments: list[str], held: int, spread: int) -> None:
    parsed = options.parse(arguments)
    assert (parsed.held, parsed.spread) == (held, spread)


def test_all_allowed_cpus_are_used_by_default() -> None:
    assert options.check_cpus(None, {3, 1}) == [1, 3]


def test_an_order_that_the_kernel_lacks_is_refused_with_its_largest() -> None:
    options.check_orders([0, 10], max_order=10)
    with pytest.raises(UsageError, match="order 11 is too large: this kernel's largest is 10"):
        options.check_orders([0, 11], max_order=10)


def test_help_names_every_option_and_every_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse(["--help"])
    text = capfd.readouterr().out
    assert ended.value.code == 0
    for name in vars(options.parse([])):
        assert f"--{name.replace('_', '-')}" in text
    for code in ("0", "1", "2", "3", "124", "128+n"):
        assert f"\n  {code:<7}" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [["-h"], ["-help"], ["--", "--help"], ["--quick", "--help"]])
def test_help_is_the_same_however_it_is_asked_for(
    arguments: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for words in (["--help"], arguments):
        monkeypatch.setattr(sys, "argv", ["bench.run", *words])
        with contextlib.suppress(SystemExit):
            assert main() == 0
        said.append(capfd.readouterr())
    assert said[0].out == said[1].out != ""
    assert not said[1].err


def test_help_needs_neither_argparse_nor_regular_expressions() -> None:
    program = f"{_HELP}\nprint(*sys.modules, file=sys.stderr)"
    words = [sys.executable, "-I", "-S", "-c", program]
    loaded = subprocess.run(words, check=True, capture_output=True, text=True).stderr.split()
    assert "sys" in loaded
    assert not {"argparse", "re", "textwrap", "functools", "typing"} & set(loaded)


@pytest.mark.parametrize("width", [40, 57, 66, 80, 200])
def test_help_fits_the_terminal_and_says_the_same(
    width: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        options.parse(["--help"])
    said = "".join(capfd.readouterr().out.split())
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((width, 24)))
    with pytest.raises(SystemExit):
        options.parse(["--help"])
    text = capfd.readouterr().out
    assert max(map(len, text.splitlines())) <= min(width, 80)
    assert "".join(text.split()) == said


def cpu_times(*programs: str) -> list[float]:
    """Return the least CPU time that Python takes for each program, tried by turns."""
    times: list[list[float]] = [[] for _ in programs]
    for _ in range(40):
        for program, took in zip(programs, times, strict=True):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            words = [sys.executable, "-I", "-c", program]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return [min(took) for took in times]


def test_help_costs_little_more_than_starting_python() -> None:
    helped, started = cpu_times(_HELP, "pass")
    assert helped <= 2.6 * started


_HELP = f"""
import sys
sys.path.insert(0, {str(SOURCES)!r})
sys.argv = ["bench.run", "--help"]
from page_alloc_bench.runner.__main__ import main
main()
"""


def test_labels_are_collected_and_checked() -> None:
    given = ["--label", "rack=a", "--label=host=node-1.example=x", "--label", "rack=b"]
    assert options.parse(given).label == {"rack": "b", "host": "node-1.example=x"}
    assert options.parse([]).label == {}
    for wrong in ("rack", "=a", "Rack=a", "a b=c", "rack=a\nb"):
        with pytest.raises(SystemExit) as ended:
            options.parse(["--label", wrong])
        assert ended.value.code == 2


def test_no_option_takes_a_number_that_a_result_cannot_have(
    capfd: pytest.CaptureFixture[str],
) -> None:
    properties = document.schema()["properties"]["run"]["properties"]["parameters"]["properties"]
    refused = set()
    for name in (name for name, value in properties.items() if value.get("type") == "integer"):
        with pytest.raises(SystemExit) as ended:
            options.parse([f"--{name.replace('_', '-')}={2**63}"])
        assert ended.value.code == 2
        told = capfd.readouterr().err
        if "unrecognized arguments" not in told:  # what follows from other options has none
            assert "is not a whole number from" in told, name
            refused.add(name)
    assert refused > {"seed", "held", "fills", "iterations"}
