# SPDX-License-Identifier: GPL-2.0-only
"""Choose results by what they say of the kernel, the machine and the options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from page_alloc_bench.runner.result import names

from . import facts, facts_difference
from .results import Result


class FilterError(ValueError):
    """A filter is none, or leaves nothing; the message is one line."""


@dataclass(frozen=True)
class Filter:
    """name: of a fact. pattern: of its text, with * and ?."""

    name: str
    pattern: str

    def __str__(self) -> str:
        """Return it as parse() reads it."""
        return f"{self.name}={self.pattern}"


def parse(text: str) -> Filter:
    """Return the filter in FACT=PATTERN. Raises FilterError."""
    name, equals, pattern = text.partition("=")
    if not equals or not name:
        raise FilterError(f"--filter {text}: give it as FACT=PATTERN")
    return Filter(name, pattern)


def chosen(results: Sequence[Result], filters: Sequence[Filter]) -> list[Result]:
    """Return the results that have all of the facts. Raises FilterError if none has."""
    left = list(results)
    for wanted in filters:
        texts = [_texts(result) for result in left]
        known = sorted({name for each in texts for name in each})
        if wanted.name not in known:
            raise FilterError(
                f"--filter {wanted}: there is no fact {wanted.name}. "
                f"{names.instead_of(wanted.name, known)}"
            )
        kept = [
            result
            for result, each in zip(left, texts, strict=True)
            if wanted.name in each and fnmatchcase(each[wanted.name], wanted.pattern)
        ]
        if not kept:
            values = sorted({each[wanted.name] for each in texts if wanted.name in each})
            raise FilterError(f"--filter {wanted}: leaves no result; there is {', '.join(values)}")
        left = kept
    return left


def _texts(result: Result) -> dict[str, str]:
    """Return all facts of a result: those that are compared as they are shown there."""
    flat = facts.flatten(result.run)
    told = {name: facts.text(value) for name, value in flat.items()}
    return {**told, **facts_difference.texts(result)}
