# SPDX-License-Identifier: GPL-2.0-only
"""A report says what the results say, in one file that is safe to open."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.axes import Axes

from page_alloc_bench.analysis import compare, report, results
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

DATA = Path(__file__).resolve().parents[1] / "data/results"
BASE, NEW = DATA / "init_on_alloc-1", DATA / "init_on_alloc-0"
Change = Callable[[dict[str, Any]], None]


class Page(HTMLParser):
    """What stands in a page: tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\N{NO-BREAK SPACE}", " ")

    def attributes(self, name: str) -> Iterator[str]:
        return (attributes[name] for _, attributes in self.tags if name in attributes)


@pytest.fixture(scope="module")
def base() -> list[Result]:
    return results.load_all([BASE])


@pytest.fixture(scope="module")
def new() -> list[Result]:
    return results.load_all([NEW])


@pytest.fixture(scope="module")
def two_sided(base: list[Result], new: list[Result]) -> str:
    return report.html(base, new)


@pytest.fixture(scope="module")
def single(base: list[Result]) -> str:
    return report.html(base[:1])


def test_labels_tell_sides_apart_however_long(base: list[Result], tmp_path: Path) -> None:
    def name(release: str) -> Change:
        return lambda document: document["run"]["kernel"].update(release=release)

    one, other = (
        changed(base[n], tmp_path / f"{n}.json", name(f"6.18.0-rc3-next-2026{'x' * 40}-{n}-dirty"))
        for n in (0, 1)
    )
    labels = [side.label for side in sides.make([one], [other])]
    assert labels == ["base (…xxxxxxxxx-0-dirty)", "new (…xxxxxxxxx-1-dirty)"]
    assert sides.make(base[:1], [one])[1].label == f"new (6.18.0-rc3-next-2026{'x' * 21}…)"


def changed(result: Result, path: Path, change: Change, *, orders: int = 1) -> Result:
    """Return the result as a file in path says it after a change; of order 0 only, to be quick."""
    document = result.document
    change(document)
    if orders == 1:
        for name in [name for name in document if name.endswith("_order4")]:
            del document[name]
        for part in ("phases", "iterations"):
            document["run"][part] = [i for i in document["run"][part] if i["order"] == 0]
    path.write_text(json.dumps(document))
    return results.load(path)


# Figures.


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


# What the page says.


def test_it_begins_with_the_verdict_of_compare(
    two_sided: str, base: list[Result], new: list[Result]
) -> None:
    text = Page(two_sided).text
    sentence = compare.compare(base, new).sentence
    assert text.index(sentence) < text.index("Warnings and differences")
    for row in compare.compare(base, new).rows:
        assert compare.describe(row) in text


def test_one_side_is_told_without_a_verdict(single: str) -> None:
    text = Page(single).text
    assert "time of one: median 4.98 µs" in text
    assert "What changed" not in text
    assert "No run has a warning" in text


def test_differing_facts_stand_before_any_figure(two_sided: str) -> None:
    text = Page(two_sided).text
    place = text.index("Facts that differ")
    assert place < text.index("What changed")
    assert "init_on_alloc" in text[place : text.index("What changed")]


def test_sides_that_must_not_be_compared_are_not(
    base: list[Result], new: list[Result], tmp_path: Path
) -> None:
    def slow(document: dict[str, Any]) -> None:
        document["run"]["machine"]["thp"]["enabled"] = "never"

    other = changed(new[0], tmp_path / "x.json", slow)
    text = Page(report.html(base[:2], [other])).text
    assert "Not compared" in text
    assert "thp.enabled" in text
    assert "invalidates the comparison" in text
    assert "What changed" not in text
    assert "What changed" in Page(report.html(base[:2], [other], allow=["thp.enabled"])).text


def test_warnings_and_unfinished_runs_come_first(base: list[Result], tmp_path: Path) -> None:
    def spoil(document: dict[str, Any]) -> None:
        run = document["run"]
        run["warnings"] = ["memory has been LOST"]
        run["iterations"][0]["warnings"] = ["no report of the kill"]
        run["complete"] = False
        run["ended"] = {"complete": False, "reason": "stopped by SIGINT", "exit_code": 130}

    text = Page(report.html([changed(base[0], tmp_path / "x.json", spoil), base[1]])).text
    first = text[: text.index("Allocation latency")]
    for told in ("LOST (1 of 2 runs)", "no report of the kill", "not complete: stopped by SIGINT"):
        assert told in first


def test_every_parameter_and_fact_is_there(single: str, base: list[Result]) -> None:
    text = Page(single).text
    run = base[0].run
    for name, value in run["parameters"].items():
        assert f"parameters.{name}" in text
        assert str(value) in text
    for name in (*run["kernel"], *run["machine"], *run["kernel"]["config"]["options"]):
        assert name in text
    assert run["kernel"]["cmdline"] in text
    for counter in run["phases"][1]["vmstat_delta"]:
        assert counter in text


def test_a_run_in_which_nothing_moved_tells_what_the_kernel_said(
    base: list[Result], tmp_path: Path
) -> None:
    def stop(document: dict[str, Any]) -> None:
        document["run"]["stall"] = {
            "phase": "idle",
            "at_s": 12.5,
            "tasks": [{"tid": 7, "name": "populate", "state": "D", "wchan": "x", "stack": None}],
            "kernel_log": ["sysrq: Show Memory", "Mem-Info:"],
        }
        document["run"]["preflight"] = [
            {"name": "swap", "severity": "warn", "accepted": False, "found": "2 GiB of swap",
             "meaning": "the child swaps", "advice": "swapoff"}
        ]  # fmt: skip

    text = Page(report.html([changed(base[0], tmp_path / "x.json", stop)])).text
    told = text[text.index("What the kernel said") : text.index("Allocation latency")]
    for words in ("7 populate D x", "sysrq: Show Memory\nMem-Info:", "12.5", "2 GiB of swap"):
        assert words in told


def nothing_measured(document: dict[str, Any]) -> None:
    for name in [name for name in document if name != "run"]:
        del document[name]
    document["run"]["complete"] = False


def no_latencies(document: dict[str, Any]) -> None:
    for name in [name for name in document if "_latenc" in name]:
        del document[name]


def only_idle(document: dict[str, Any]) -> None:
    for name in [n for n in document if n != "run" and not n.startswith("idle")]:
        del document[name]
    run = document["run"]
    run["complete"] = False
    run["phases"] = run["phases"][:2]
    run["phases"][1]["complete"] = False
    run["iterations"] = run["iterations"][:1]


def bare_phases(document: dict[str, Any]) -> None:
    for phase in document["run"]["phases"]:
        for name in ("buddyinfo_before", "buddyinfo_after", "duration_s", "complete"):
            del phase[name]


@pytest.mark.parametrize("change", [nothing_measured, no_latencies, only_idle, bare_phases])
def test_what_was_not_measured_is_left_out(
    base: list[Result], tmp_path: Path, change: Change
) -> None:
    result = changed(base[0], tmp_path / "x.json", change)
    for text in (report.html([result]), report.html([result, base[1]])):
        assert "nan" not in re.findall(r"\w+", Page(text).text.lower())
        assert "Parameters" in text


# What the file is.


def hostile(document: dict[str, Any]) -> None:
    run = document["run"]
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> $x$ \\frac & {{ 7*7 }}"
    run["kernel"]["cmdline"] = evil
    run["kernel"]["release"] = "6.1<b onclick=x>$"
    run["warnings"] = [evil]
    run["machine"]["cpu_model"] = "</style></svg>" + evil
    run["kernel"]["config"]["options"]["<script>X"] = "<script>y"
    run["phases"][1]["vmstat_delta"]["<script>z"] = 5


def test_what_a_result_says_stays_text(base: list[Result], tmp_path: Path) -> None:
    name = "<script>alert('file')<.json"
    evil = changed(base[0], tmp_path / name.replace("/", ""), hostile)
    for html in (report.html([evil]), report.html(base[1:2], [evil], allow=["*"])):
        page = Page(html)
        assert not {"script", "img", "b", "iframe", "object"} & {tag for tag, _ in page.tags}
        assert not [a for _, found in page.tags for a in found if a.startswith("on")]
        assert "<script>alert(1)</script>" in page.text
        assert "{{ 7*7 }}" in page.text


def test_everything_is_inside(two_sided: str) -> None:
    page = Page(two_sided)
    for name in ("src", "href", "xlink:href", "action", "poster", "srcset"):
        for value in page.attributes(name):
            assert value.startswith(("#", "data:")), value
    assert not re.search(r"url\((?!#)|@import", two_sided)


def test_ids_are_unique_and_references_lead_somewhere(two_sided: str) -> None:
    page = Page(two_sided)
    ids = list(page.attributes("id"))
    assert len(ids) == len(set(ids))
    wanted = {v[1:] for n in ("href", "xlink:href") for v in page.attributes(n) if v[:1] == "#"}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", two_sided))
    wanted |= {word for v in page.attributes("aria-labelledby") for word in v.split()}
    assert len(wanted) > 50
    assert wanted <= set(ids)


def test_every_picture_is_named_for_those_who_do_not_see_it(two_sided: str) -> None:
    drawn = [found for tag, found in Page(two_sided).tags if tag == "svg"]
    assert len(drawn) >= 20
    assert all(found["role"] == "img" and found["aria-labelledby"] for found in drawn)
    titles = re.findall(r"<svg [^>]*><title[^>]*>([^<]+)</title><desc[^>]*>[^<]+</desc>", two_sided)
    assert len(titles) == len(set(titles)) == len(drawn)


def test_colours_are_the_pages_to_choose(two_sided: str) -> None:
    assert "#0101" not in two_sided
    used = set(re.findall(r"var\(--(\w+)\)", two_sided))
    for theme in two_sided.split("prefers-color-scheme: dark")[:2]:
        assert used - {"soft", "link", "alarm"} <= set(re.findall(r"--(\w+): #", theme))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
def test_colours_stand_out(theme: palette.Palette) -> None:
    assert contrast(theme.ink, theme.paper) >= 7
    for name in ("base", "new"):
        assert contrast(getattr(theme, name), theme.paper) >= 4.5, name


def test_the_same_results_give_the_same_bytes(single: str, base: list[Result]) -> None:
    assert report.html(base[:1]) == single


def embedded(text: str) -> dict[str, bytes]:
    links = [f for tag, f in Page(text).tags if tag == "a" and "download" in f]
    return {
        found["download"]: base64.b64decode(
            found["href"].removeprefix("data:application/gzip;base64,")
        )
        for found in links
    }


def test_the_raw_results_are_in_it(two_sided: str, base: list[Result], new: list[Result]) -> None:
    found = embedded(two_sided)
    assert list(found.values()) == [result.path.read_bytes() for result in (*base, *new)]


def many_samples(seed: int) -> Change:
    """Return what makes a result one with as many samples as the default keeps."""

    def change(document: dict[str, Any]) -> None:
        rng = np.random.default_rng(seed)
        for name in document:
            if name.endswith(("latencies_ns_order0", "latencies_ns_order4")):
                document[name] = rng.lognormal(7, 1, 50_000).astype(int).tolist()
        document["run"]["started_at"] = f"2026-01-01T00:00:{seed:02}Z"

    return change


@pytest.fixture(scope="module")
def large(base: list[Result], tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    place = tmp_path_factory.mktemp("large")
    return [changed(base[0], place / f"{n:02}.json", many_samples(n), orders=2) for n in range(20)]


def test_twenty_results_are_not_too_large(large: list[Result], tmp_path: Path) -> None:
    text = report.html(large[:10], large[10:], allow=["*"])
    assert len(text.encode()) <= 6e6
    assert "they lack the latency samples" in Page(text).text
    found = embedded(text)
    assert len(found) == 20
    for name, data in found.items():
        path = tmp_path / name
        path.write_bytes(data)
        kept = results.load(path)
        assert not kept.values("kernel_page_alloc_latencies_ns", 0).size
        assert kept.values("kernel_page_alloc_latency_histogram", 0).size


def test_a_plain_file_is_embedded_byte_for_byte(large: list[Result]) -> None:
    [data] = embedded(report.html(large[:1])).values()
    assert gzip.decompress(data) == large[0].path.read_bytes()


# Pictures.


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


# The command.


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["report", *map(str, arguments)])
    return done.exit_code, done.output


def test_it_ends_with_0_when_the_page_is_written(tmp_path: Path, base: list[Result]) -> None:
    path = tmp_path / "report.html"
    assert run(base[0].path, "--vs", NEW / "0*.json.gz", "-o", path)[0] == 0
    assert "new (init_on_alloc=0)" in path.read_text()


def test_it_ends_with_2_when_it_cannot_be_written(tmp_path: Path, base: list[Result]) -> None:
    path = tmp_path / "nowhere/report.html"
    status, output = run(base[0].path, "-o", path)
    assert status == 2
    assert str(path) in output


@pytest.mark.parametrize(
    "arguments",
    [
        [BASE],
        [BASE, "--vs", "-o", "x.html"],
        ["--vs", BASE, "-o", "x.html"],
        [BASE, "--vs", NEW, "--vs", NEW, "-o", "x.html"],
        [BASE, "-o", "x.html", "--threshold", "-1"],
        ["-o", "x.html"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[object], tmp_path: Path) -> None:
    status, output = run(*(tmp_path / a if a == "x.html" else a for a in arguments))
    assert status == 2
    assert output.startswith("error: ")
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("content", ["", '{"run": {', "[1]", '{"run": {"schema_version": 9}}'])
def test_a_file_that_is_no_result_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    status, output = run(path, "-o", tmp_path / "x.html")
    assert status == 2
    assert str(path) in output
    assert output.count("\n") == 1
    assert not (tmp_path / "x.html").exists()


def test_the_same_run_on_both_sides_is_refused(tmp_path: Path) -> None:
    status, output = run(BASE, "--vs", BASE, "-o", tmp_path / "x.html")
    assert status == 2
    assert "the same run" in output
