# SPDX-License-Identifier: GPL-2.0-only
"""Read JSON whose top level has long arrays of integers, without a Python object per number.

A hundred results have some twenty million sampled latencies. As lists they cost four times as much
time, and five times as much memory, as arrays of numpy.
"""

from __future__ import annotations

import re
import secrets
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What a long array of integers that are not negative consists of. Shorter ones gain nothing.
_LONG = re.compile(rb"\[([0-9, \t\r\n]{1000,})\]")
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

    def cut(found: re.Match[bytes]) -> bytes:
        name = f"{token}{len(arrays)}"
        array = _integers(found[1])
        if array is None:
            return found[0]
        arrays[name] = array
        return f'"{name}"'.encode()

    text = _LONG.sub(cut, data)
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
