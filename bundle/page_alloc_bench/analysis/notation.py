# SPDX-License-Identifier: GPL-2.0-only
"""How a change is written, the same everywhere: in percent, or as a factor where that is large.

A change and its interval are of one notation: a factor if any of them is large.
"""

from __future__ import annotations

from collections.abc import Callable

_LARGE = 900.0  # percent: from here on a factor reads better


def change(middle: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a change in percent, such as "-1.2%", or as a factor, such as "x46.5".

    low, high: of its interval, which only decides the notation. "n/a" if there is no change.
    """
    if middle is None:
        return "n/a"
    write = _writer(middle, low, high)
    return write(middle) + ("%" if write is _percent else "")


def interval(middle: float | None, low: float | None, high: float | None) -> str:
    """Return the interval of a change, such as "-1.6..+1.5" or "x41..x52".

    An end that nothing bounds is left out, as in "x4.1.."; "" if there is no interval. A change of
    -100 % is as far as one can fall, so it bounds nothing.
    """
    ends = (None if low is None or low <= -100 else low), high
    if ends == (None, None):
        return ""
    write = _writer(middle, *ends)
    return "..".join("" if end is None else write(end) for end in ends)


def fine(percent: float | None) -> str:
    """Return a change that is known exactly, such as "+0.02" or "+19.8", in percent."""
    if percent is None:
        return "n/a"
    text = f"{percent:+.{2 if abs(percent) < 9.995 else 1}f}"
    return "+0.00" if text == "-0.00" else text


def points(percent: float | None) -> str:
    """Return a change of a share as parts of a million, such as "+93ppm"."""
    return "n/a" if percent is None else f"{percent * 1e4:+.3g}ppm"


def _writer(*percents: float | None) -> Callable[[float], str]:
    large = any(percent is not None and percent >= _LARGE for percent in percents)
    return _factor if large else _percent


def _factor(percent: float) -> str:
    return f"x{1 + percent / 100:.3g}"


def _percent(percent: float) -> str:
    text = f"{percent:+.1f}" if abs(percent) < 99.95 else f"{percent:+.0f}"
    return "+0.0" if text == "-0.0" else text
