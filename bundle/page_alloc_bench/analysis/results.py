# SPDX-License-Identifier: GPL-2.0-only
"""Read result files, checked before anything is concluded from them.

A result may have millions of numbers, so the schema that the runner ships is not applied to each
of them: arrays are checked as arrays, and the object under "run" as sound.py has it.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from page_alloc_bench import outputs
from page_alloc_bench.runner.result import metrics as declared
from page_alloc_bench.runner.result.case import Case, case_of, split_key
from page_alloc_bench.runner.result.metrics import Better

from . import ancestor, campaign_directory, compressed, long_arrays, sound

# A function would have to be added here for each version, that makes of it what version 1 is.
KNOWN_VERSIONS = (1,)

_SUFFIXES = (".json", ".json.gz")
# Values of an array that tell it from others, and values, not all of an array the same, that tell
# a run from all others.
_BEGINNING = 500
_TELLING = 100


class ResultError(Exception):
    """A file that cannot be used; the message is one line that names it."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {' '.join(reason.split())}")


@dataclass(frozen=True)
class Measured:
    """What was measured of one metric in one case. values: one-dimensional."""

    metric: declared.Metric
    case: Case
    values: NDArray[np.int64]

    @property
    def name(self) -> str:
        """Return the metric's name, without the case."""
        return self.metric.name

    @property
    def key(self) -> str:
        """Return the name in the result."""
        return self.name + self.case.suffix()

    @property
    def order(self) -> int:
        """Return the order of the blocks."""
        return self.case.order

    @property
    def unit(self) -> str:
        """Return the unit of the values."""
        return self.metric.unit

    @property
    def better(self) -> Better | None:
        """Return the direction that is good; None where neither is."""
        return self.metric.better


@dataclass(frozen=True)
class Result:
    """One run.

    run: the object under "run"; metrics: by name and case. kept: what is compared, by
    per_run.Statistic, where it was taken before the samples were left out; else None.
    """

    path: Path
    run: dict[str, Any]
    metrics: dict[tuple[str, Case], Measured] = field(repr=False)
    kept: Mapping[Any, float] | None = field(default=None, repr=False)

    @property
    def started_at(self) -> str:
        """Return when the run began, as the result has it; "" if it does not tell."""
        return str(self.run.get("started_at") or "")

    @property
    def cases(self) -> list[Case]:
        """Return the cases that anything was measured in, ascending."""
        return sorted({case for _, case in self.metrics})

    @property
    def orders(self) -> list[int]:
        """Return the orders that anything was measured in, ascending."""
        return sorted({case.order for _, case in self.metrics})

    @property
    def document(self) -> dict[str, Any]:
        """Return the whole JSON document, read again: as Python's integers it is large."""
        return _parse(self.path, _read(self.path))

    def values(self, name: str, case: Case | int) -> NDArray[np.int64]:
        """Return a metric's values; an empty array if it was not measured.

        case: an order stands for its default case.
        """
        measured = self.metrics.get((name, case_of(case)))
        return np.zeros(0, np.int64) if measured is None else measured.values

    def counts(self, name: str, case: Case | int) -> list[int]:
        """Return a metric's values as Python's integers; empty if it was not measured."""
        found: list[int] = self.values(name, case).tolist()
        return found

    @functools.cached_property
    def identity(self) -> str:
        """Return a digest of the measurements: the same for copies of a run, whatever was edited.

        Where there are so few that two runs may have the same, the boot is part of it. Of a long
        array its length and beginning are taken: no two runs have those in common.
        """
        digest, telling = hashlib.sha256(), 0
        for key in sorted(self.metrics):
            name, case = key
            place = case.suffix() if case.chosen else case.order
            digest.update(repr((name, place)).encode())
            values = self.metrics[key].values
            beginning = values[:_BEGINNING]
            digest.update(repr(values.size).encode() + beginning.tobytes())
            telling += beginning.size if beginning.size and np.ptp(beginning) else 0
        if telling < _TELLING:
            digest.update(repr(self.run.get("boot_id")).encode())
        return digest.hexdigest()


def load(path: Path) -> Result:
    """Return the result in path, plain or compressed by gzip; the ancestor's results too.

    Raises ResultError for anything else: no file, no JSON, no result, one of an unknown schema
    version, a metric that is not declared, an array of anything but integers from 0 to 2^63 - 1, a
    NaN.
    """
    data = _read(path)
    document = long_arrays.load(data, _loads) or _parse(path, data)
    document = ancestor.adopt(document) or document
    run = document.pop("run", None)
    if not isinstance(run, dict) or "schema_version" not in run:
        raise ResultError(
            path, 'is not a result of page-alloc-bench: it has no "run" with a schema_version'
        )
    version = run["schema_version"]
    if version not in KNOWN_VERSIONS or type(version) is not int:
        known = ", ".join(map(str, KNOWN_VERSIONS))
        raise ResultError(path, f"has schema_version {version!r}; this program reads {known}")
    _require_sound(path, sound.fault_of_run(run))
    metrics = {}
    while document:  # gives the memory of each list back before the next is read
        key, values = document.popitem()
        measured = _measured(path, key, values)
        metrics[measured.name, measured.case] = measured
    empty = [place for place, measured in metrics.items() if _empty(measured, metrics)]
    for place in empty:
        del metrics[place]
    if not metrics and run["complete"]:
        raise ResultError(path, "has no measurement")
    arrays = {key: measured.values for key, measured in metrics.items()}
    _require_sound(path, sound.fault_of_metrics(arrays))
    return Result(path, run, dict(reversed(metrics.items())))


def _empty(measured: Measured, metrics: Mapping[tuple[str, Case], Measured]) -> bool:
    """Return whether a metric that every result has is there only because of that.

    Of timed operations the histogram may have been kept, and no sample of them.
    """
    if measured.values.size or not measured.metric.contracted:
        return False
    timed = declared.operation_of(measured.name)
    return timed is None or (timed.histogram.name, measured.case) not in metrics


def _require_sound(path: Path, fault: str | None) -> None:
    if fault is not None:
        raise ResultError(path, fault)


def find(arguments: Iterable[str | Path]) -> list[Path]:
    """Return the files that arguments name, in their order.

    An argument is a file, a directory (for the .json and .json.gz files right in it, by name; that
    of a campaign for the results of its sides), or a glob that the shell did not expand. Raises
    ResultError for one that names nothing.
    """
    return [path for argument in arguments for path in _found(str(argument))]


def load_all(arguments: Iterable[str | Path]) -> list[Result]:
    """Return the results in all files that arguments name. Raises ResultError."""
    return [load(path) for path in find(arguments)]


def _found(argument: str) -> Iterator[Path]:
    if not argument:
        raise ResultError("''", "is not the name of a file")
    path = Path(argument)
    if path.is_dir() and campaign_directory.is_campaign(path):
        yield from _of_campaign(path)
    elif path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.endswith(_SUFFIXES) and p.is_file())
        if not files:
            raise ResultError(path, "has no .json or .json.gz file in it")
        yield from files
    elif path.exists():
        yield path
    else:
        matches = sorted(glob.glob(argument, recursive=True))
        if not matches:
            raise ResultError(argument, "no such file")
        for match in matches:
            if not Path(match).is_dir():
                yield Path(match)


def _of_campaign(path: Path) -> list[Path]:
    """Return the results of all sides of a campaign."""
    try:
        kept = campaign_directory.read(path)
    except (OSError, ValueError) as error:
        raise ResultError(path, str(error)) from error
    files = [file for side in kept.sides() for file in kept.files(side)]
    if not files:
        raise ResultError(path, "no boot of this campaign is whole yet")
    return files


def _read(path: Path) -> bytes:
    outputs.protect(path)
    try:
        return compressed.plain(path.read_bytes())
    except OSError as error:
        raise ResultError(path, error.strerror or str(error)) from error
    except compressed.CompressedError as error:
        raise ResultError(path, str(error)) from error


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    try:
        document = _loads(data)
    except json.JSONDecodeError as error:
        at_end = error.pos >= len(data.rstrip()) or error.msg.startswith("Unterminated string")
        cut = not data.strip() or at_end
        what = "is cut short or empty" if cut else "is not JSON"
        raise ResultError(path, f"{what}: {error}") from error
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one
        raise ResultError(path, f"is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ResultError(path, "is not a result of page-alloc-bench: it is not a JSON object")
    return document


def _loads(data: bytes) -> Any:
    return json.loads(data, parse_constant=_refuse, parse_float=_finite)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


def _measured(path: Path, key: str, values: object) -> Measured:
    try:
        name, case = split_key(key)
    except ValueError as error:
        raise ResultError(path, f"is not a result of page-alloc-bench: {error}") from error
    try:
        metric = declared.declared(name)
    except declared.UndeclaredError as error:
        raise ResultError(path, f"{error}: a newer version made this result") from error
    return Measured(metric, case, _integers(path, key, values))


def _integers(path: Path, key: str, values: object) -> NDArray[np.int64]:
    if isinstance(values, np.ndarray):
        values.flags.writeable = False
        return values
    if not isinstance(values, list):
        raise ResultError(path, f"{key} is not an array")
    if not set(map(type, values)) <= {int}:  # numpy would take true for 1
        raise ResultError(path, f"{key} contains something that is not an integer")
    try:
        array = np.array(values, np.int64)
    except OverflowError as error:
        raise ResultError(path, f"{key} has a number of 2^63 or more") from error
    if array.size and array.min() < 0:
        raise ResultError(path, f"{key} has a negative number")
    array.flags.writeable = False
    return array
