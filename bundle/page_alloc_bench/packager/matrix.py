# SPDX-License-Identifier: GPL-2.0-only
"""Bundles for a list of kernel builds: what a kernel's CI publishes next to each kernel.

The list is a TOML file:

    bundle = "each"                        # or "fat": one bundle that serves all of them
    sbom = true                            # a bill of materials beside each bundle

    [[kernel]]
    name = "6.12-arm64"                    # of the bundle: 6.12-arm64.run
    kdir = "../build-arm64"                # from where this file is
    arch = "arm64"                         # this and what follows as for kbuild, if needed
    cross_compile = "aarch64-linux-gnu-"   # also: llvm, cc, kcflags
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from page_alloc_bench import outputs
from page_alloc_bench.packager import build, manifest, parallel
from page_alloc_bench.packager.build import BuildRequest, BuildResult, TreeRequest
from page_alloc_bench.packager.errors import PackagerError

_toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

Progress = Callable[[str], None]

SUMS = "SHA256SUMS"
FAT = "bench.run"
_TOP_KEYS = {"bundle", "sbom", "kernel"}
_TREE_KEYS = {"llvm", "arch", "cross_compile", "cc", "kcflags"}
_KEYS = {"name", "kdir"} | _TREE_KEYS
# Names become file names, and words of a table.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Matrix:
    """What the file asks for: trees by name, in its order."""

    kernels: Mapping[str, TreeRequest]
    fat: bool = False
    sbom: bool = False


@dataclass(frozen=True)
class Row:
    """What became of one bundle; ``kernels``: the names of its entries."""

    kernels: tuple[str, ...]
    path: Path
    outcome: BuildResult | PackagerError


def read(path: Path, defaults: TreeRequest) -> Matrix:
    """Read the file at ``path``; PackagerError, in one line, names the entry that is wrong.

    ``defaults``: what holds for trees that do not say otherwise, its own kdir aside.
    """
    document = _load(path)
    _refuse_unknown(f"{path}", document, _TOP_KEYS)
    entries = document.get("kernel")
    if not isinstance(entries, list) or not entries:
        raise PackagerError(f"{path} lists no kernels: it needs [[kernel]] tables")
    kernels: dict[str, TreeRequest] = {}
    for number, entry in enumerate(entries, 1):
        name, tree = _entry(path, number, entry, defaults)
        if name in kernels:
            raise PackagerError(f"{path}: there are two kernels called {name}")
        kernels[name] = tree
    if document.get("bundle", "each") not in ("each", "fat"):
        raise PackagerError(f'{path}: bundle is "each" or "fat", not {document["bundle"]!r}')
    if not isinstance(document.get("sbom", False), bool):
        raise PackagerError(f"{path}: sbom is true or false, not {document['sbom']!r}")
    return Matrix(kernels, document.get("bundle") == "fat", document.get("sbom", False))


def build_all(
    matrix: Matrix, directory: Path, options: Mapping[str, Any], progress: Progress
) -> list[Row]:
    """Build what ``matrix`` asks for into ``directory``, and list the digests in SHA256SUMS.

    ``options``: of each BuildRequest, but for its trees and its output. A bundle that fails does
    not keep the others from being built; what an earlier run left in its place is removed.
    SHA256SUMS comes last, so that a run cut short has none.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / SUMS).unlink(missing_ok=True)
    except OSError as error:
        raise PackagerError(f"{error.filename} cannot be written: {error.strerror}") from error
    groups = _groups(matrix)
    workers, threads = parallel.share(options.get("jobs") or os.cpu_count() or 1, len(groups))
    requests = [
        BuildRequest(
            **vars(matrix.kernels[names[0]]),
            more=tuple(matrix.kernels[name] for name in names[1:]),
            output=directory / file,
            sbom=directory / f"{Path(file).stem}.cdx.json" if matrix.sbom else None,
            **{**options, "jobs": threads},
        )
        for file, names in groups.items()
    ]
    calls = [
        functools.partial(build.build, request, functools.partial(_tell, request.output, progress))
        for request in requests
    ]
    outcomes = parallel.run(calls, workers)
    rows = []
    for names, request, outcome in zip(groups.values(), requests, outcomes):
        if isinstance(outcome, PackagerError):
            for stale in filter(None, (request.output, request.sbom)):
                stale.unlink(missing_ok=True)
        rows.append(Row(names, request.output, outcome))
    try:
        outputs.write(directory / SUMS, _sums(requests, rows).encode())
    except outputs.OutputError as error:
        raise PackagerError(error.message, exit_code=error.exit_code) from error
    return rows


def table(rows: Sequence[Row]) -> str:
    """Return what became of each kernel, a line each."""
    cells = [("NAME", "RESULT", "KERNEL", "MACHINE", "BUNDLE", "BYTES", "SHA256")]
    for row in rows:
        if isinstance(row.outcome, PackagerError):
            cells += [(name, "failed", "-", "-", row.path.name, "-", "-") for name in row.kernels]
            continue
        about = (row.path.name, f"{row.outcome.size:,}", row.outcome.sha256[:16])
        for name, module in zip(row.kernels, row.outcome.modules):
            cells.append((name, "ok", module.info.release, module.info.machine, *about))
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
    return "\n".join(lines)


def _groups(matrix: Matrix) -> dict[str, tuple[str, ...]]:
    """Return the names of the kernels that each file serves."""
    if matrix.fat:
        return {FAT: tuple(matrix.kernels)}
    return {f"{name}.run": (name,) for name in matrix.kernels}


def _tell(output: Path, progress: Progress, message: str) -> None:
    """Report progress under the bundle's name."""
    kind, colon, rest = message.partition("warning: ")
    progress(
        f"warning: {output.stem}: {rest}" if colon and not kind else f"{output.stem}: {message}"
    )


def _sums(requests: Sequence[BuildRequest], rows: Sequence[Row]) -> str:
    """Return what sha256sum --check takes."""
    lines = []
    for request, row in zip(requests, rows):
        if isinstance(row.outcome, PackagerError):
            continue
        lines.append(f"{row.outcome.sha256}  {request.output.name}\n")
        if request.sbom:
            digest = manifest.sha256(request.sbom.read_bytes())
            lines.append(f"{digest}  {request.sbom.name}\n")
    return "".join(lines)


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            document: dict[str, Any] = _toml.load(file)
    except OSError as error:
        raise PackagerError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PackagerError(f"{path} is not TOML: {error}") from error
    return document


def _entry(
    path: Path, number: int, entry: object, defaults: TreeRequest
) -> tuple[str, TreeRequest]:
    """Return the name and the tree of one [[kernel]]."""
    where = f"{path}: kernel {number}"
    if not isinstance(entry, dict):
        raise PackagerError(f"{where} is not a table: write [[kernel]]")
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PackagerError(
            f"{where} needs a name of letters, digits and .+_-, which becomes a file's name"
        )
    where = f"{path}: kernel {name}"
    _refuse_unknown(where, entry, _KEYS)
    for key, value in entry.items():
        if not isinstance(value, str):
            raise PackagerError(f"{where}: {key} is not a string in quotes")
    if not entry.get("kdir"):
        raise PackagerError(f"{where} has no kdir")
    given = {key: entry[key] for key in _TREE_KEYS & entry.keys()}
    kdir = path.parent / Path(entry["kdir"]).expanduser()
    inherited = tuple(key for key in defaults.from_environment if key not in given)
    return name, replace(defaults, kdir=kdir, from_environment=inherited, **given)


def _refuse_unknown(where: str, table: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(table.keys() - known)
    if unknown:
        raise PackagerError(f"{where}: unknown key {unknown[0]}; known: {', '.join(sorted(known))}")
