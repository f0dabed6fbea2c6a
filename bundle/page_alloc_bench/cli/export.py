# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench export``: results into the formats of other tools."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from page_alloc_bench import outputs
from page_alloc_bench.cli.common import CONTEXT, OUTPUT
from page_alloc_bench.cli.with_results import bad_input, load_runs, needs, note

if TYPE_CHECKING:
    from page_alloc_bench.analysis.tidy import Run

_FORMATS = ("csv", "parquet", "openmetrics", "kcidb", "falba", "otava")
_FORMAT_OF_SUFFIX = {".csv": "csv", ".parquet": "parquet", ".om": "openmetrics"}
_STDOUT = Path("-")
_ORIGIN = re.compile(r"[a-z0-9_]+")


@click.command(context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, metavar="RESULT...")
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    help="What to write.  [default: by the name of -o's FILE: .csv, .parquet, .om]",
)
@click.option(
    "-o",
    "--output",
    type=OUTPUT,
    metavar="FILE",
    help="Where; for falba, the directory of the database to make or to add to.  [default: stdout]",
)
@click.option(
    "--fact",
    "facts",
    multiple=True,
    metavar="NAME",
    help="csv, parquet: another fact for each row, such as kernel.config.options.KASAN, or all. "
    "May be given more than once; `show --facts` lists them.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="csv, parquet, otava: only this metric, such as 'idle_*' or kernel_page_allocs_order4. "
    "May be given more than once.",
)
@click.option(
    "--origin",
    metavar="NAME",
    help="kcidb: the name of your CI system, of a-z, 0-9 and _.  [default: page_alloc_bench]",
)
@click.option(
    "--build-id",
    metavar="ORIGIN:ID",
    help="kcidb: the build that was measured, if it has been submitted; otherwise the report "
    "describes it as far as the results know it.",
)
def export(
    files: tuple[str, ...],
    form: str | None,
    output: Path | None,
    *,
    facts: tuple[str, ...],
    metrics: tuple[str, ...],
    origin: str | None,
    build_id: str | None,
) -> None:
    """Write results as rows, as OpenMetrics, for KCIDB, Apache Otava, or as a database of FALBA.

    RESULT is a result file, a directory of them, or a glob. A copy of a run is left out.
    """
    form = form or _FORMAT_OF_SUFFIX.get(output.suffix if output else "")
    if form is None:
        raise click.UsageError("give --format")
    _check_options(form, facts=facts, metrics=metrics, origin=origin, build_id=build_id)
    with needs("analysis,query" if form == "parquet" else "analysis"), bad_input():
        from page_alloc_bench.analysis import tidy

        if form == "falba":
            directory = _falba_directory(output)
            runs = tidy.select(list(load_runs(files)), metrics)
            from page_alloc_bench.analysis.export import to_falba

            to_falba.export(runs, directory)
            return
        if form == "parquet" and outputs.is_stdout(output or _STDOUT) and sys.stdout.isatty():
            raise click.UsageError("Parquet is not for a terminal: give -o FILE")
        with outputs.OutputFile(output or _STDOUT) as stream:
            runs = tidy.select(list(load_runs(files)), metrics)
            if form == "parquet":
                from page_alloc_bench.analysis.export import to_parquet

                to_parquet.export(runs, stream, facts)
                return
            with outputs.text_of(stream) as text:
                _export_text(form, runs, text, facts=facts, origin=origin, build_id=build_id)


def _check_options(
    form: str, *, facts: Sequence[str], metrics: Sequence[str], **kcidb: str | None
) -> None:
    if facts and form not in ("csv", "parquet"):
        raise click.UsageError("--fact is only for csv and parquet")
    if metrics and form not in ("csv", "parquet", "otava"):
        raise click.UsageError("--metric is only for csv, parquet and otava")
    given = [name for name, value in kcidb.items() if value is not None]
    if given and form != "kcidb":
        raise click.UsageError(f"--{given[0].replace('_', '-')} is only for kcidb")
    origin, build_id = kcidb["origin"], kcidb["build_id"]
    if origin is not None and not _ORIGIN.fullmatch(origin):
        raise click.UsageError(f"--origin={origin} is not made of a-z, 0-9 and _")
    if build_id is not None and not re.fullmatch(_ORIGIN.pattern + ":.+", build_id):
        raise click.UsageError(f"--build-id={build_id} is not an origin, a colon and an ID")


def _export_text(
    form: str,
    runs: list[Run],
    stream: TextIO,
    *,
    facts: Sequence[str],
    origin: str | None,
    build_id: str | None,
) -> None:
    if form == "csv":
        from page_alloc_bench.analysis.export import to_csv

        to_csv.export(runs, stream, facts)
    elif form == "otava":
        from page_alloc_bench.analysis.export import to_otava

        to_otava.export(runs, stream, note)
    elif form == "openmetrics":
        from page_alloc_bench.analysis.export import to_openmetrics

        to_openmetrics.export(runs, stream)
    else:
        from page_alloc_bench.analysis.export import to_kcidb

        to_kcidb.export(runs, stream, origin or to_kcidb.ORIGIN, build_id)


def _falba_directory(output: Path | None) -> Path:
    if output is None or outputs.is_stdout(output):
        raise click.UsageError("falba is a directory: give -o DIRECTORY")
    if output.exists() and not output.is_dir():
        raise click.UsageError(f"{output} is not a directory")
    return output
