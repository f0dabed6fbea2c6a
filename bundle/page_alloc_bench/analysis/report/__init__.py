# SPDX-License-Identifier: GPL-2.0-only
"""A report: results as one page with pictures, for people to read, to print and to mail.

The pictures are matplotlib's, as SVG inside the page: that is small, needs no script and no
network, prints sharply, and keeps its text as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from page_alloc_bench import outputs
from page_alloc_bench.analysis.results import Result

from . import outcome, page, palette, pictures, sides
from . import svg as vector

_PNG_DPI = 150


def html(
    base: Sequence[Result],
    new: Sequence[Result] = (),
    *,
    allow: Iterable[str] = (),
    filters: Sequence[str] = (),
    **options: Any,
) -> str:
    """Return the page about base, or about new against base.

    allow, options: as compare() takes them. filters: by which the runs were chosen. Raises
    CompareError if nothing of the sides can be compared.
    """
    shown = sides.make(base, new)
    told = outcome.conclude(shown, allow, **options)
    if filters:
        which = f"Only runs with {' and '.join(filters)} are in this page."
        told = replace(told, sentences=[*told.sentences, which])
    return page.render(shown, told)


def save_pictures(
    base: Sequence[Result], new: Sequence[Result] = (), *, png: Path | None, svg: Path | None
) -> list[Path]:
    """Write each picture, with its title, into the directories given; return the files.

    Raises OSError, OutputError.
    """
    shown = sides.make(base, new)
    written = []
    for directory in (png, svg):
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
    for picture in pictures.every(shown, sides.cases(shown)):
        figure = picture.figure(palette.LIGHT, titled=True)
        if png is not None:
            written.append(png / f"{picture.name}.png")
            with outputs.OutputFile(written[-1]) as stream:
                figure.savefig(stream, format="png", dpi=_PNG_DPI)
        if svg is not None:
            written.append(svg / f"{picture.name}.svg")
            outputs.write(written[-1], vector.render(figure))
    return written
