# SPDX-License-Identifier: GPL-2.0-only
"""What the subcommands share that look at results: show, export and query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from page_alloc_bench import installation

if TYPE_CHECKING:
    from page_alloc_bench.analysis.tidy import Run


class BadInputError(click.ClickException):
    """A file, or a name in a file, that cannot be used: as wrong as a wrong option."""

    exit_code = 2


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Say which extra to install if a library is missing that the body imports."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("page_alloc_bench"):
            raise
        raise click.ClickException(
            f"{error.name} is not installed; this needs:\n  {installation.install_extra(extra)}"
        ) from error


@contextmanager
def bad_input() -> Iterator[None]:
    """Turn what is wrong with a result file into a line and exit code 2."""
    from page_alloc_bench.analysis.results import ResultError

    try:
        yield
    except ResultError as error:
        raise BadInputError(str(error)) from error


def load_runs(files: Sequence[str]) -> Iterator[Run]:
    """Yield the runs in files, directories and globs, each once; says what it leaves out.

    Raises BadInputError for a file that is not a result, and if there is no file.
    """
    from page_alloc_bench.analysis import results, tidy

    with bad_input():
        paths = results.find(files)
        if not paths:
            raise BadInputError(f"no result file in {' '.join(files)}")
        yield from tidy.each(map(results.load, paths), note)


def note(text: str) -> None:
    """Say something on stderr that stops nothing."""
    click.echo(f"page-alloc-bench: {text}", err=True)
