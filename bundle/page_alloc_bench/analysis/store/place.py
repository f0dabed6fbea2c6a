# SPDX-License-Identifier: GPL-2.0-only
"""Where a store has what, and which of its files are whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from page_alloc_bench import outputs
from page_alloc_bench.analysis.results import ResultError

FORMAT = 1
UNKNOWN_HOST = "unknown"
_MAGIC = b"PAR1"  # begins and ends a Parquet file


class StoreError(ResultError):
    """A directory that is not a store, or one that this program cannot read."""


@dataclass(frozen=True, order=True)
class Stored:
    """The file of a run. place: in the store. release, host: as its directories say."""

    root: Path
    place: str
    release: str
    host: str

    @property
    def path(self) -> Path:
        """Return the whole path."""
        return self.root / self.place


@dataclass(frozen=True)
class Store:
    """A store that exists and has a format that this program knows."""

    root: Path

    @property
    def index(self) -> Path:
        """Return the directory of what was gathered from many runs."""
        return self.root / "index"

    def place_of(self, release: str, host: str, run_id: str) -> Path:
        """Return where a run belongs."""
        return self.root / "runs" / _part("release", release) / _part("host", host) / _file(run_id)

    def listed(self) -> Iterator[Stored]:
        """Yield every file of a run, whole or not, by release, host and name."""
        runs = self.root / "runs"
        for of_release, release in _parts(runs, "release"):
            for of_host, host in _parts(runs / of_release, "host"):
                directory = f"runs/{of_release}/{of_host}"
                for name in sorted(os.listdir(self.root / directory)):
                    if name.endswith(".parquet") and not name.startswith("."):
                        yield Stored(self.root, f"{directory}/{name}", release, host)

    def whole(self) -> tuple[list[Stored], list[tuple[Stored, str]]]:
        """Return the files that begin and end as they should, and the others with what is wrong."""
        good, bad = [], []
        for stored in self.listed():
            fault = fault_of(f"{self.root}/{stored.place}")
            if fault is None:
                good.append(stored)
            else:
                bad.append((stored, fault))
        return good, bad


def fault_of(path: Path | str) -> str | None:
    """Return what is wrong with the ends of a Parquet file, None if nothing is."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            head, tail = os.pread(file.fileno(), 4, 0), os.pread(file.fileno(), 4, max(0, size - 4))
    except OSError as error:
        return error.strerror or str(error)
    return None if size >= 12 and head == tail == _MAGIC else "is cut short, or no Parquet file"


def open_store(root: Path) -> Store:
    """Return the store in a directory. Raises StoreError if there is none that can be read."""
    path = root / "store.json"
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StoreError(root, "is not a store; `page-alloc-bench store add` makes one") from error
    except (OSError, ValueError) as error:
        raise StoreError(path, f"cannot be read: {error}") from error
    found = told.get("format") if isinstance(told, dict) else None
    if type(found) is not int or not 1 <= found <= FORMAT:
        raise StoreError(
            root, f"has format {found!r}; this program reads 1 to {FORMAT}: use a newer one"
        )
    return Store(root)


def make_store(root: Path) -> Store:
    """Return the store in a directory, made if there is nothing in it. Raises StoreError."""
    path = root / "store.json"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            used = any(name for name in os.listdir(root) if not name.startswith("."))
            if used and not path.exists():  # no other program has made it meanwhile
                raise StoreError(root, "is not empty, and no store: give another directory")
            outputs.write(path, json.dumps({"format": FORMAT}).encode() + b"\n")
    except OSError as error:
        raise StoreError(root, f"cannot be made: {error.strerror}") from error
    return open_store(root)


def _file(run_id: str) -> str:
    return f"{run_id}.parquet"


def _part(name: str, value: str) -> str:
    """Return the directory of a value: what a path cannot have is written as %2F."""
    return f"{name}={quote(value, safe='+~@:,')}"


def _parts(directory: Path, name: str) -> list[tuple[str, str]]:
    """Return the directories that a directory is divided into, and the value of each."""
    try:
        entries = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    head = f"{name}="
    return [
        (entry, unquote(entry.removeprefix(head)))
        for entry in entries
        if entry.startswith(head) and (directory / entry).is_dir()
    ]
