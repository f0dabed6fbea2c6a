# SPDX-License-Identifier: GPL-2.0-only
"""The page itself: what stands in it, in what order, and the template that it is rendered with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
from markupsafe import Markup

import page_alloc_bench
from page_alloc_bench import resources
from page_alloc_bench.analysis import format_words
from page_alloc_bench.analysis.judged import Judged
from page_alloc_bench.runner.result.case import Case

from . import axes as ax
from . import embed, facts, palette, pictures, sides, svg, tables
from .outcome import Outcome
from .sides import Side
from .tables import Row, Table

_CONFIG = "kernel.config.options."
# What a reader of a printed page must know of the kernel and the machine.
_CHIEF = (
    "kernel.release",
    "kernel.version",
    "kernel.cmdline",
    "machine.clocksource",
    "machine.cpu_model",
    "machine.cpus_used",
    "machine.hypervisor",
    "machine.memory_bytes",
    "machine.thp.enabled",
)
_SHOWN_VALUES = 3  # of a fact that differs within a side

# Parts of the kernel's own counters; others are titled by the metrics that are in them.
_PARTS = {
    "buddyinfo": "Free blocks: /proc/buddyinfo and /proc/pagetypeinfo",
    "vmstat": "Events: /proc/vmstat",
}


@dataclass(frozen=True)
class Drawn:
    """A picture in the page."""

    title: str
    text: str
    svg: Markup


@dataclass(frozen=True)
class Part:
    """Pictures that belong together, and the tables of what they show."""

    title: str
    pictures: Sequence[Drawn]
    tables: Sequence[Table]


@dataclass(frozen=True)
class Section:
    """A section of the page; what it does not have is empty."""

    id: str
    title: str
    text: Sequence[str] = ()
    warnings: Sequence[tuple[str, Sequence[tuple[str, str]]]] = ()
    tables: Sequence[Table] = ()
    parts: Sequence[Part] = ()
    runs: dict[str, Any] = field(default_factory=dict)


def render(shown: Sequence[Side], outcome: Outcome) -> str:
    """Return the page about one side, or two of which outcome says how they compare."""
    sections = [
        _warnings(shown, outcome),
        _figures(shown, outcome),
        *(_case(shown, case, outcome.of_cases.get(case, "")) for case in sides.cases(shown)),
        _facts(shown),
        _runs(shown),
    ]
    return document(_title(shown), outcome.sentences, sections, outcome.judged)


def document(
    title: str,
    verdict: Sequence[str],
    sections: Sequence[Section],
    judged: Sequence[Judged] = (),
) -> str:
    """Return a whole page.

    verdict: sentences, of which the first is set off. judged: stands below that.
    """
    return _template(
        "report.html.j2",
        title=title,
        verdict=verdict,
        judged=judged,
        sections=sections,
        version=page_alloc_bench.__version__,
        css=_css(),
    )


def _css() -> Markup:
    colours = {"light": palette.LIGHT.items(), "dark": palette.DARK.items()}
    return Markup(_template("report.css.j2", **colours))  # noqa: S704 (nothing of a result's)


def _template(name: str, **values: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.templates_dir()),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**values).lstrip()


def _title(shown: Sequence[Side]) -> str:
    if len(shown) == 1:
        return f"Page allocator benchmark: {shown[0].legend}"
    return f"Page allocator benchmark: {' against '.join(side.legend for side in reversed(shown))}"


def _warnings(shown: Sequence[Side], outcome: Outcome) -> Section:
    """Return what a reader must know before any figure: differing facts, and runs' warnings."""
    lists = []
    general = [(text, "Note:") for text in outcome.warnings]
    if general:
        lists.append(("All runs", general))
    for side in shown:
        told = [(_times(text, count, side), "Warning:") for text, count in facts.warnings(side)]
        if told:
            lists.append((side.legend, told))
    text = []
    if not lists:
        text.append("No run has a warning, and every run is complete.")
    if not outcome.differences and sum(len(side.results) for side in shown) > 1:
        text.append("No fact differs between the runs.")
    return Section(
        "warnings",
        "Warnings and differences",
        text,
        warnings=lists,
        tables=[
            *([_differences(shown, outcome)] if outcome.differences else []),
            *(table for side in shown for table in _findings(side)),
        ],
    )


def _findings(side: Side) -> list[Table]:
    """Return what runs say at length of their host and of their end."""
    made = []
    if rows := facts.stalls(side):
        caption = f"What the kernel said when nothing moved: {side.legend}"
        made.append(Table(caption, ("fact", "text"), rows, text=True))
    if found := facts.findings(side):
        caption = f"Found before the runs: {side.legend}"
        head = ("check", "severity", "found", "what it means", "runs")
        made.append(Table(caption, head, found, text=True))
    return made


def _times(text: str, count: int, side: Side) -> str:
    return text if len(side.results) == 1 else f"{text} ({count} of {side.runs})"


_KINDS = {
    "invalidating": "invalidates the comparison",
    "other": "may matter",
    "meant": "what is compared",
}


def _differences(shown: Sequence[Side], outcome: Outcome) -> Table:
    """Return the facts that differ, what else than the kernel differs first."""
    rows = []
    for item in outcome.differences:
        values = [_values(item.base)]
        if len(shown) > 1:
            kind = "invalidating, allowed by the user" if item.allowed else _KINDS[item.kind]
            kind += ", not the same within a side" if item.within else ""
            values += [_values(item.new), kind]
        mark = "marked" if item.kind == "invalidating" else ""
        rows.append(Row((item.name, *values), mark))
    head = ["fact", *(side.legend for side in shown), *(["what it does"] if len(shown) > 1 else [])]
    return Table("Facts that differ between the runs", head, rows, open=True, text=True)


def _values(texts: Sequence[str]) -> str:
    """Return the values of a side, the most frequent first."""
    rest = len(texts) - _SHOWN_VALUES
    return "; ".join(texts[:_SHOWN_VALUES]) + (f" and {rest} more" if rest > 0 else "")


def _figures(shown: Sequence[Side], outcome: Outcome) -> Section:
    if outcome.comparison is not None:
        text = [format_words.legend(outcome.comparison, short=False)]
        made = tables.comparison(outcome.comparison, shown)
        if outcome.comparison.geomeans:
            made.append(tables.geomeans(outcome.comparison))
        drawn = [draw(picture) for picture in pictures.changes(outcome.comparison)]
        parts = [Part("Changes against the thresholds", drawn, [])] if drawn else []
        return Section("figures", "Comparison", text, tables=made, parts=parts)
    return Section("figures", "Figures", tables=[tables.summary(side) for side in shown])


def _case(shown: Sequence[Side], case: Case, sentence: str) -> Section:
    """Return all pictures of one case. sentence: what its figures are, if it is to be said here."""
    groups: dict[str, list[pictures.Picture]] = {}
    for picture in pictures.every(shown, [case]):
        groups.setdefault(picture.section, []).append(picture)
    parts = []
    for name, group in groups.items():
        parts.append(
            Part(
                _PARTS.get(name) or group[0].part,
                [draw(picture) for picture in group],
                tables.of_section(name, shown, case),
            )
        )
    page = next(sides.runs(shown)).run["kernel"]["page_size_bytes"]
    return Section(
        sides.id_of(case),
        f"{sides.name_of(case)} ({ax.size(page << case.order)} per block)",
        [sentence] if sentence else [],
        parts=parts,
    )


def draw(picture: pictures.Picture) -> Drawn:
    """Return a picture as it stands in a page, in colours that the page decides."""
    drawn = picture.figure(palette.MARKS, titled=False)
    text = svg.inline(drawn, picture.name, picture.title, picture.text)
    return Drawn(picture.title, picture.text, Markup(text))  # noqa: S704 (svg escapes its text)


def _facts(shown: Sequence[Side]) -> Section:
    rows = [
        Row((fact.name, *fact.values), "marked" if fact.differs or fact.varies else "")
        for fact in facts.every(shown)
    ]
    head = ("fact", *(side.legend for side in shown))
    parameters = [row for row in rows if row[0].startswith("parameters.")]
    options = [row for row in rows if row[0].startswith(_CONFIG)]
    chief = [row for row in rows if row[0] in _CHIEF]
    elsewhere = ("parameters.", "bundle.", _CONFIG)
    others = [row for row in rows if not row[0].startswith(elsewhere) and row not in chief]
    bundle = [row for row in rows if row[0].startswith("bundle.")]
    made = [
        Table("Parameters", head, parameters, open=True, text=True),
        Table("Kernel and machine", head, chief, open=True, text=True),
        Table("More of the kernel and the machine", head, others, text=True, screen=True),
        Table("Options of the kernel's configuration", head, options, text=True, screen=True),
        Table("The bundle's manifest", head, bundle, text=True, screen=True),
    ]
    return Section(
        "facts",
        "Parameters and facts",
        ["Rows with a grey ground differ between runs."],
        tables=made,
    )


def _runs(shown: Sequence[Side]) -> Section:
    """Return the list of runs, each to be saved."""
    embedded, whole = embed.every(shown)
    directory = os.path.commonpath([item.result.path.absolute().parent for item in embedded])
    rows = []
    for item in embedded:
        run = item.result.run
        cells = (
            str(run["kernel"]["release"]),
            str(run.get("started_at", "")),
            "yes" if run["complete"] else "no",
        )
        name = str(item.result.path.absolute().relative_to(directory))
        rows.append({"name": name, "cells": cells, "url": item.url, "file": item.file})
    text = [
        f"The files were read from {directory}. "
        "Each run's result is in this page, to be saved and compared again."
    ]
    if not whole:
        text.append(
            "They would make this page too large: here they lack the latency samples, whose"
            " histograms, with every timed operation, they still have."
        )
    head = ("file", "kernel", "started", "complete", "result")
    return Section("runs", "Runs", text, runs={"head": head, "rows": rows})
