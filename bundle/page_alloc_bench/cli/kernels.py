# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench kernels``: fetch and list the kernels of the support matrix."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import click

from page_alloc_bench.cli.common import CONTEXT, terminal_columns
from page_alloc_bench.runner.result import columns
from page_alloc_bench.targets import build_root, root
from page_alloc_bench.targets import kernels as matrix
from page_alloc_bench.targets.process import TargetError

KERNEL = click.Choice([kernel.name for kernel in (*matrix.KERNELS, matrix.SANITIZER)])
_HEAD = ("NAME", "ARCH", "HOST", "COMPILED", "CACHED", "FROM", "NOTES")
_DROPPED_FIRST = ("COMPILED", "HOST", "FROM", "ARCH")
_BESIDE = 24  # columns for notes beside the rest; with fewer they are below it


@click.command(context_settings=CONTEXT)
@click.argument("names", nargs=-1, type=KERNEL, metavar="[NAME]...")
@click.option("--list", "only_list", is_flag=True, help="List them and what is cached; no network.")
@click.option(
    "--refresh", is_flag=True, help="Fetch today's newest build also of those that are cached."
)
def kernels(names: tuple[str, ...], only_list: bool, refresh: bool) -> None:
    """Fetch kernels, by default all, and what they are built and booted with.

    All of it goes to ${XDG_CACHE_HOME:-~/.cache}/page-alloc-bench; nothing is installed.
    """
    if only_list and refresh:
        raise click.UsageError("--list fetches nothing: leave out --refresh")
    rows = [matrix.lookup(name) for name in names] or list(matrix.KERNELS)
    if only_list:
        click.echo("\n".join(_table(rows, terminal_columns())))
        return
    went_well = [_prepare(row, refresh=refresh) for row in rows]
    if not all(went_well):
        sys.exit(1)


def _prepare(row: matrix.Kernel, *, refresh: bool) -> bool:
    """Put all that the row needs into the cache, say what there is, return whether it went well."""
    try:
        if row.build_root:
            build_root.ensure()
        # One waits for the network while the other unpacks.
        with ThreadPoolExecutor() as pool:
            image = pool.submit(root.image, row.root) if row.root else None
            fetched = matrix.fetch(row, refresh=refresh)
            if image:
                image.result()
    except TargetError as error:
        click.echo(f"{row.name}: {error}", err=True)
        return False
    click.echo(f"{row.name}: {fetched.release} in {fetched.kdir}")
    return True


def _table(rows: list[matrix.Kernel], width: int | None) -> list[str]:
    """Return the lines of the table. width: columns for it; None: any number.

    Where they are few, notes are below the rest of a row, and then columns are left out.
    """
    lines = [dict(zip(_HEAD, line)) for line in (_HEAD, *map(_cells, rows))]
    shown = list(_HEAD[:-1])
    for dropped in (None, *_DROPPED_FIRST):
        shown = [name for name in shown if name != dropped]
        widths = [max(len(line[name]) for line in lines) for name in shown]
        wide = sum(widths) + 2 * len(widths)
        if width is None or wide <= width:
            break
    made = []
    for line in lines:
        first = "".join(f"{line[name]:{room}}  " for name, room in zip(shown, widths))
        if width is None:
            made.append(f"{first}{line['NOTES']}".rstrip())
        elif wide + _BESIDE <= width:
            made += columns.wrap(line["NOTES"], width, " " * wide, first=first) or [first.rstrip()]
        else:
            made += [first.rstrip(), *columns.wrap(line["NOTES"], width, "    ", first="    ")]
    return made


def _cells(row: matrix.Kernel) -> tuple[str, ...]:
    return (
        row.name,
        row.arch,
        row.root or "busybox",
        "build root" if row.build_root else "here",
        "yes" if matrix.cached(row) else "no",
        f"{'source, ' if row.config else ''}{row.suites[0]}",
        row.notes,
    )
