# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of reports share: recorded results, changed, and reading a page."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import recorded
from page_alloc_bench.analysis import results
from page_alloc_bench.analysis.results import Result

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


def embedded(text: str) -> dict[str, bytes]:
    """Return the results that a page has in it, by the names that they are saved as."""
    links = [f for tag, f in Page(text).tags if tag == "a" and "download" in f]
    return {
        found["download"]: base64.b64decode(
            found["href"].removeprefix("data:application/gzip;base64,")
        )
        for found in links
    }


def changed(result: Result, path: Path, change: Change, *, orders: int = 1) -> Result:
    """Return the result as a file in path says it after a change; of order 0 only, to be quick."""
    document = result.document
    change(document)
    if orders == 1:
        of_order_0(document)
    path.write_text(json.dumps(document))
    return results.load(path)


def of_order_0(document: dict[str, Any]) -> None:
    """Leave out what was measured of order 4."""
    for name in [name for name in document if name.endswith("_order4")]:
        del document[name]
    for part in ("phases", "iterations"):
        document["run"][part] = [i for i in document["run"][part] if i["order"] == 0]


def brief(document: dict[str, Any]) -> None:
    """Leave two figures: for pages that are read for their words, as each picture takes a while."""
    of_order_0(document)
    kept = ("run", "idle_available", "kernel_page_alloc_latenc", "kernel_page_allocs_timed")
    for name in [name for name in document if not name.startswith(kept)]:
        del document[name]
    document["run"]["phases"] = document["run"]["phases"][:1]


RATES = {1: 1000, 2: 1900, 4: 3400, 8: 4000}  # of so many CPUs; each of four does 85 %, of eight 50


def stepped(
    tmp_path: Path, number: int, slower: float = 1.0, change: Change = of_order_0
) -> Result:
    """A changed run to which --cpus-steps 1,2,4,all on eight CPUs adds rates of pairs."""
    document = recorded.documents(recorded.BASE)[number]
    change(document)
    document["run"]["cpus"] = list(range(8))
    for cpus, rate in RATES.items():
        suffix = "_order0" if cpus == 8 else f"_order0_cpus_{cpus}"
        per_cpu = slower if cpus == 8 else 1.0
        document[f"pairs_allocs_per_second{suffix}"] = [round(rate * per_cpu) + number]
    path = tmp_path / f"{number}-{slower}.json"
    path.write_text(json.dumps(document))
    return results.load(path)


SLOW = 1  # a CPU that takes four times as long
SLICES_S = (4, 5, 3)


def planted(number: int, document: recorded.Document, order: int = 0) -> recorded.Document:
    """A result with latencies by CPU and over time, one run a little slower than the other."""
    cpus = document["run"]["cpus"]
    for operation, ns in (("alloc", 1000 + 10 * number), ("free", 400)):
        name = f"kernel_page_{operation}_"
        each = [ns * (4 if cpu == SLOW else 1) for cpu in cpus]
        document |= {
            f"{name}latency_median_ns_per_cpu_order{order}": each,
            f"{name}latency_p99_ns_per_cpu_order{order}": [10 * ns if cpu else 0 for cpu in cpus],
            f"{name}latency_max_ns_per_cpu_order{order}": [100 * ns for _ in cpus],
            f"{name}latency_median_ns_per_slice_order{order}": [ns, 2 * ns, 3 * ns],
            f"{name}latency_p99_ns_per_slice_order{order}": [9 * ns, 0, 9 * ns],
            f"{name}slices_ns_order{order}": [int(1e9 * length) for length in SLICES_S],
        }
    return document


TYPES = {"Movable": 9, "Unmovable": 5, "Reclaimable": 1}  # parts of what moves between orders


def whole(number: int, document: recorded.Document) -> recorded.Document:
    """A result that has all that a default run notes: no picture of a report is missing.

    All migratetypes lose large blocks and win small ones, in both phases and of both orders.
    """
    noted = document["run"]["free_by_type"] = []
    for order in (0, 4):
        planted(number, document, order)
        for first, last in (("idle", "idle"), ("steady_wait", "stop")):
            free = {name: [0] * 10 + [20 * part] for name, part in TYPES.items()}
            broken = {name: [100 * part + number] * 10 + [part] for name, part in TYPES.items()}
            noted += [seen(first, "before", order, **free), seen(last, "after", order, **broken)]
    return document


def seen(phase: str, moment: str, order: int, **free: list[int | None]) -> dict[str, Any]:
    zones = [{"zone": "node 0 zone Normal", "free": free, "pageblocks": {"Movable": 9}}]
    return {"phase": phase, "moment": moment, "order": order, "zones": zones}
