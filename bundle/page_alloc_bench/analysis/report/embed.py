# SPDX-License-Identifier: GPL-2.0-only
"""The results themselves inside the page, to be saved from it and compared again."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from page_alloc_bench.analysis.results import Result

from . import sides
from .sides import Side

LIMIT = 4 << 20  # bytes of base64; a page that is to be mailed stays below 6 MB with its pictures
_LEVEL = 6  # 9 takes four times as long for 2 % less
_GZIP = b"\x1f\x8b"
_SAMPLES = re.compile(r"_latencies_ns_order[0-9]+$")


@dataclass(frozen=True)
class Embedded:
    """A result in the page. file: what it is saved as. url: a data: URL of gzip."""

    result: Result
    file: str
    url: str


def every(shown: Sequence[Side]) -> tuple[list[Embedded], bool]:
    """Return every result, byte for byte; without the latency samples if that is too much.

    The second value says whether they are whole. Histograms have all timed operations anyway, and
    the file stays a result that can be compared.
    """
    whole = _whole(shown)
    packed = whole or [_without_samples(result) for result in sides.runs(shown)]
    names = [
        f"{side.key}-{number:02}" for side in shown for number in range(1, len(side.results) + 1)
    ]
    suffix = ".json.gz" if whole else "-without-samples.json.gz"
    made = [
        Embedded(result, name + suffix, "data:application/gzip;base64," + _text(data))
        for result, name, data in zip(sides.runs(shown), names, packed)
    ]
    return made, whole is not None


def _whole(shown: Sequence[Side]) -> list[bytes] | None:
    """Return the files as they are, compressed; None if together they are too much."""
    packed = []
    for result in sides.runs(shown):
        packed.append(_packed(result))
        if sum(map(len, packed)) * 4 / 3 > LIMIT:
            return None
    return packed


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _packed(result: Result) -> bytes:
    data = result.path.read_bytes()
    return data if data.startswith(_GZIP) else gzip.compress(data, mtime=0, compresslevel=_LEVEL)


def _without_samples(result: Result) -> bytes:
    document = {name: value for name, value in result.document.items() if not _SAMPLES.search(name)}
    return gzip.compress(json.dumps(document).encode(), mtime=0, compresslevel=_LEVEL)
