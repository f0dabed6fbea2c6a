# SPDX-License-Identifier: GPL-2.0-only
"""Read JSON whose top level has long arrays of integers, without a Python object per number.

A hundred results have some twenty million sampled latencies. As lists they cost four times as much
time, and five times as much memory, as arrays of numpy.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What an array of integers that are not negative consists of.
_INTEGERS = b"0123456789, \t\r\n"
_LONG = 1000  # bytes; shorter ones gain nothing
# From here on a number may be one that does not fit: the exact reading says so.
_LARGE = 2**62


def load(data: bytes, loads: Callable[[bytes], Any]) -> dict[str, Any] | None:
    """Return a JSON object whose long arrays at its top level are arrays of np.int64.

    loads: reads JSON, as json.loads() does, or raises ValueError. None where the arrays cannot be
    told with certainty: what loads() makes of all of data then holds, or says to be wrong with it.
    """
    # Nobody can have written this into the data, so what has it afterwards is one of the arrays.
    token = secrets.token_hex(16)
    arrays: dict[str, NDArray[np.int64]] = {}

    parts, end = [], 0
    for first, last in _long(data):
        array = _integers(data[first:last])
        if array is None:
            continue
        name = f"{token}{len(arrays)}"
        arrays[name] = array
        parts += [data[end : first - 1], f'"{name}"'.encode()]
        end = last + 1
    text = b"".join([*parts, data[end:]])
    try:
        document = loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    for key, value in document.items():
        if isinstance(value, str) and value in arrays:
            document[key] = arrays.pop(value)
    return None if arrays else document


def _long(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the inside of each long array of integers begins and ends."""
    last = -1
    while (end := data.find(b"]", last + 1)) >= 0:
        first = data.rfind(b"[", last + 1, end) + 1
        if first and end - first >= _LONG and not data[first:end].translate(None, _INTEGERS):
            yield first, end
        last = end


def _integers(text: bytes) -> NDArray[np.int64] | None:
    """Return the integers in text; None if it is not surely a list of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # says that the text ended too early
        try:
            array = np.fromstring(text, np.int64, sep=",")
        except ValueError:
            return None
    if array.size != text.count(b",") + 1 or array.max() >= _LARGE:
        return None
    return array
