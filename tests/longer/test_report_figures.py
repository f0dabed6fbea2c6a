# SPDX-License-Identifier: GPL-2.0-only
"""The figures of a report: numbers, axes, pictures."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.axes import Axes

from page_alloc_bench.analysis import report
from page_alloc_bench.analysis.report import (
    axes,
    figures,
    latency,
    memory,
    palette,
    pictures,
    sides,
)
from page_alloc_bench.analysis.results import Result
from page_alloc_bench.cli import main
from page_alloc_bench.runner.result import metrics, quantile
from page_alloc_bench.runner.result.case import Case
from reporting import Page, changed


def test_the_slowest_are_those_of_the_histogram_written_out() -> None:
    counts, edges = [100, 0, 40, 3], [10, 20, 30, 40, 80]
    known = quantile.Distribution(counts, edges, [], known_largest=77)
    run = latency.Distribution(np.array(counts, float), np.array(edges, float), 77.0, known)
    spread = np.concatenate(
        [np.linspace(10, 20, 100), np.linspace(30, 40, 40), np.linspace(40, 77, 3)]
    )
    shares = np.array([0.9, 0.5, 0.1])
    assert run.slowest(shares) == pytest.approx(np.quantile(spread, 1 - shares), abs=0.7)
    assert run.slowest(np.array([1 / 143])) == [77.0]
    assert np.isnan(run.slowest(np.array([1 / 144]))).all()


def test_the_tail_agrees_with_the_figures_of_compare(base: list[Result]) -> None:
    timed = next(iter(metrics.operations().values()))
    side = sides.make(base)[0]
    band = latency.tail(latency.all_of(base, timed, Case(0)))
    for share, name in ((0.5, "median"), (0.01, "p99"), (0.001, "p99.9")):
        read = np.interp(-np.log(share), -np.log(band.at), band.middle)
        told = figures.middle(side, timed.sample.name, name, Case(0))
        assert read == pytest.approx(told, rel=0.07)  # a bucket's width
    assert (band.low <= band.middle).all()
    assert (band.middle <= band.high).all()


def iterations(runs: list[Result], tmp_path: Path, length: int) -> Axes:
    """The axes of the picture of available memory of runs cut to some iterations."""

    def cut(document: dict[str, Any]) -> None:
        for name in document:
            if name.endswith("_available_bytes_order0"):
                document[name] = (document[name] * length)[:length]

    side = sides.make([changed(run, tmp_path / run.path.stem, cut) for run in runs])
    picture = pictures.available(side, Case(0))[0]
    return picture.figure(palette.LIGHT, titled=False).axes[0]


@pytest.mark.parametrize("length", [1, 2, 3, 10, 25])
def test_iterations_are_whole_numbers(base: list[Result], tmp_path: Path, length: int) -> None:
    ticks = iterations(base[:1], tmp_path, length).get_xticks()
    assert all(tick == int(tick) and 1 <= tick <= length for tick in ticks)
    assert 1 <= len(ticks) <= 10


def test_an_axis_that_does_not_begin_at_zero_is_marked_as_cut(
    base: list[Result], tmp_path: Path
) -> None:
    drawn = iterations(base[:2], tmp_path, 3)
    assert drawn.get_ylim()[0] > 0
    assert len([line for line in drawn.get_lines() if line.get_gid() == "cut"]) == 2
    from_zero = iterations(base[:1], tmp_path, 3)
    from_zero.set_ylim(0)
    before = len(from_zero.get_lines())
    axes.mark_cut(from_zero, palette.LIGHT)
    assert len(from_zero.get_lines()) == before


def test_a_histogram_leaves_no_operation_out(base: list[Result]) -> None:
    run = latency.of(base[0], next(iter(metrics.operations().values())), Case(0))
    assert run is not None
    edges = run.edges[run.edges > 0]
    shares = run.density(edges) * np.diff(np.log(edges)) / np.log(latency.STEP)
    assert shares.sum() == pytest.approx(1)


def test_the_parts_of_a_difference_add_up(base: list[Result], new: list[Result]) -> None:
    for result in (*base, *new):
        for case, loss in itertools.product(result.cases, metrics.losses()):
            found = memory.difference(result, loss, case)
            assert found is not None
            (_, total), *parts = [(name, found.part(name)) for name, _ in memory.rows(loss)]
            assert sum(value for _, value in parts if value is not None) == pytest.approx(total)
            # What nothing explains is within what the manual promises.
            assert abs(found.rest) < 0.01 * result.run["machine"]["memory_bytes"]


def test_what_the_kernel_did_not_log_is_said_to_be_unknown(
    base: list[Result], tmp_path: Path
) -> None:
    def forget(document: dict[str, Any]) -> None:
        for item in document["run"]["iterations"]:
            item["oom_free_pcp_bytes"] = None

    result = changed(base[0], tmp_path / "x.json", forget)
    assert "not recorded" in Page(report.html([result])).text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (axes.time(4980), "4.98 µs"),
        (axes.time(999.9), "1.00 µs"),
        (axes.time(28), "28 ns"),
        (axes.size(1.5 * 2**30), "1.50 GiB"),
        (axes.size(-3 * 2**20), "-3 MiB"),
        (axes.count(198_664), "199 k"),
        (axes.time(float("nan")), "unknown"),
    ],
)
def test_numbers_are_written_with_units_that_suit_them(text: str, written: str) -> None:
    assert text.replace("\N{NO-BREAK SPACE}", " ") == written


@pytest.mark.parametrize(
    ("low", "high"), [(4300, 9000), (100, 2e7), (28, 35), (1, 1e12), (0.3, 2e6), (99, 1001)]
)
def test_logarithmic_axes_have_a_readable_number_of_ticks(low: float, high: float) -> None:
    ticks = axes.log_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)


def test_a_big_machine_is_a_heat_map_in_vectors(base: list[Result], tmp_path: Path) -> None:
    def grow(document: dict[str, Any]) -> None:
        cpus = list(range(512))
        document["run"]["cpus"] = cpus
        document["run"]["machine"]["node_of_cpu"] = {str(cpu): cpu // 64 for cpu in cpus}
        document["kernel_page_allocs_per_cpu_order0"] = [1000 + cpu for cpu in cpus]

    result = changed(base[0], tmp_path / "x.json", grow)
    page = Page(report.html([result]))
    assert "image" not in {tag for tag, _ in page.tags}
    assert "node 7, all CPUs (64)" in page.text
    [drawn] = pictures.throughput(sides.make([result]), Case(0))
    text = "".join(ET.fromstring(pictures_svg(drawn)).itertext())
    assert all(f"node {node}" in text for node in range(8))


def pictures_svg(picture: pictures.Picture) -> bytes:
    return report.vector.render(picture.figure(palette.LIGHT, titled=True))


def test_pictures_are_written_as_files(base: list[Result], tmp_path: Path) -> None:
    png, svg = tmp_path / "a/png", tmp_path / "svg"
    arguments = [str(base[0].path), "--png", str(png), "--svg", str(svg)]
    done = CliRunner().invoke(main, ["report", *arguments])
    assert done.exit_code == 0, done.output
    names = {path.stem for path in png.iterdir()}
    assert names == {path.stem for path in svg.iterdir()}
    assert {"alloc-tail-order0", "available-order4", "vmstat-order0"} <= names
    for path in png.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
    for path in svg.iterdir():
        text = "".join(ET.parse(path).getroot().itertext())
        assert "Order" in text  # text is kept as text
        assert "#0101" not in path.read_text()
