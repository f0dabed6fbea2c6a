# SPDX-License-Identifier: GPL-2.0-only
"""What to say of a name that there is not."""

from __future__ import annotations

from collections.abc import Iterable

# What a run measures where nothing else is asked for: a result names only what else it measured.
DEFAULT_WORKLOAD = "available-memory"


def closest(wrong: str, known: Iterable[str]) -> str | None:
    """Return which of the known names may have been meant; None if none is like it."""
    import difflib

    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return near[0] if near else None


def instead_of(wrong: str, known: Iterable[str], also: Iterable[str] = ()) -> str:
    """Return in a sentence or two which name may have been meant, and which there are.

    also: names that may have been meant, and are not worth a place in the list.
    """
    names = list(dict.fromkeys(known))
    near = closest(wrong, [*names, *also])
    meant = f"Did you mean {near}? " if near else ""
    return f"{meant}There are: {', '.join(names) or 'none'}"
