# SPDX-License-Identifier: GPL-2.0-only
"""What the subcommands share that hold two sides of results against each other."""

from __future__ import annotations

import math
from pathlib import Path

import click

from page_alloc_bench.analysis import campaign_directory

# An argument that no shell can pass: where the new side begins.
_VS = "\0vs"


class SidesCommand(click.Command):
    """Lets any number of arguments follow --vs: everything before it is the base."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Mark where the new side begins, and parse."""
        marked: list[str] = []
        for arg in args:
            if arg == "--vs":
                marked.append(_VS)
            elif arg.startswith("--vs="):
                marked += [_VS, arg.removeprefix("--vs=")]
            else:
                marked.append(arg)
        return super().parse_args(context, marked)


def campaign(files: tuple[str, ...]) -> Path | None:
    """Return the directory of a campaign if it is all that was given: its sides are compared."""
    found = Path(files[0]) if len(files) == 1 else None
    return found if found and campaign_directory.is_campaign(found) else None


def _files(directory: Path) -> list[tuple[str, ...]]:
    """Return the results of each side of a campaign. Raises click.UsageError."""
    try:
        kept = campaign_directory.read(directory)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{directory}: {error}") from error
    found = [tuple(map(str, kept.files(side))) for side in kept.sides()]
    if not found:
        raise click.UsageError(f"{directory}: no boot of this campaign is whole yet")
    return found


def split(files: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what stands before --vs and what stands after it; nothing if there is none.

    Raises click.UsageError.
    """
    if directory := campaign(files):
        base, *news = _files(directory)
        return base, news[0] if news else ()
    if _VS not in files:
        return files, ()
    middle = files.index(_VS)
    base, new = files[:middle], files[middle + 1 :]
    if _VS in new:
        raise click.UsageError("give the two sides as BASE... --vs NEW...")
    if not base or not new:
        raise click.UsageError("each side of --vs needs at least one result")
    return base, new


def split_all(files: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return all sides, the base first: divided by each --vs, or each of three directories or more.

    Raises click.UsageError.
    """
    if directory := campaign(files):
        return _files(directory)
    if _VS not in files:
        many = len(files) > 2 and all(Path(file).is_dir() for file in files)
        return [(file,) for file in files] if many else [files]
    sides: list[tuple[str, ...]] = [()]
    for file in files:
        if file == _VS:
            sides.append(())
        else:
            sides[-1] = (*sides[-1], file)
    if not all(sides):
        raise click.UsageError("each side of --vs needs at least one result")
    return sides


def percent(value: str) -> float:
    """Return 2.0 for "2%" or "2". Raises click.BadParameter if it is not a percentage above 0."""
    try:
        number = float(value.removesuffix("%"))
    except ValueError:
        number = -1.0
    if not 0 < number < math.inf:
        raise click.BadParameter(f"{value!r} is not a percentage above 0, such as 2%")
    return number
