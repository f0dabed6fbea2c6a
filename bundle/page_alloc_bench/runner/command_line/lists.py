# SPDX-License-Identifier: GPL-2.0-only
"""Types of options that are lists."""

from __future__ import annotations

from .option import Type, matches, wrong

TYPE_CHECKING = False  # typing itself takes milliseconds to import
if TYPE_CHECKING:
    from typing import Any

ALL = "all"


class Words(Type):
    """A list of words, each of those that are known, each once."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "array", "items": {"enum": list(self._words)}}

    def __call__(self, text: str) -> list[str]:
        """Return the words in the order in which they were given."""
        return _each_once(text, self._known)

    def _known(self, word: str) -> str:
        return _one_of(self._words, word)


class Modified(Type):
    """A list of words, each of those that are known, with modifiers added, like user+comp+zero."""

    def __init__(self, words: tuple[str, ...], modifiers: tuple[str, ...]) -> None:
        self._words = words
        self._modifiers = modifiers

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        words, modifiers = "|".join(self._words), "|".join(self._modifiers)
        pattern = rf"^({words})(\+({modifiers}))*$"
        return {"type": "array", "items": {"type": "string", "pattern": pattern}}

    def __call__(self, text: str) -> list[str]:
        """Return the words in the order in which they were given, modifiers in theirs."""
        return _each_once(text, self._known)

    def _known(self, text: str) -> str:
        word, *added = text.split("+")
        for name, known in ((word, self._words), *((each, self._modifiers) for each in added)):
            _one_of(known, name)
        return "+".join((word, *(each for each in self._modifiers if each in added)))


class Sizes(Type):
    """A list of sizes of pages: words that are known, and sizes in KiB like 64k."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "array", "items": {"type": "string"}}

    def __call__(self, text: str) -> list[str]:
        """Return the sizes in the order in which they were given."""
        return _each_once(text, self._size)

    def _size(self, word: str) -> str:
        kib = int(word[:-1]) if matches("[1-9][0-9]{0,7}k", word) else 0
        if word not in self._words and (not kib or kib & (kib - 1)):
            raise wrong(
                f"{word!r} is not one of {', '.join(self._words)} or a power of two like 64k"
            )
        return word


class Steps(Type):
    """A list of numbers of CPUs, where a word stands for one that follows from the others."""

    def __init__(self, word: str = ALL) -> None:
        self._word = word

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "array", "items": {"type": "string"}}

    def __call__(self, text: str) -> list[str]:
        """Return the steps in the order in which they were given."""
        return _each_once(text, self._step)

    def _step(self, word: str) -> str:
        if word != self._word and not matches("[1-9][0-9]{0,4}", word):
            raise wrong(f"{word!r} is neither a number of CPUs nor {self._word}")
        return word


class Numbers(Type):
    """A list of numbers up to most, each once."""

    def __init__(self, most: int) -> None:
        self._most = most

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "array", "items": {"type": "integer"}}

    def __call__(self, text: str) -> list[int]:
        """Return the numbers in the order in which they were given."""
        return [int(word) for word in _each_once(text, self._number)]

    def _number(self, word: str) -> str:
        if matches("[1-9][0-9]{0,9}", word) and int(word) <= self._most:
            return word
        raise wrong(f"{word!r} is not a number from 1 to {self._most}")


class Depths(Type):
    """A list of numbers of blocks: 16, or in units of what a CPU's list holds: 2h, h/2.

    most: of an absolute one.
    """

    def __init__(self, most: int) -> None:
        self._most = most

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "array", "items": {"type": "string"}}

    def __call__(self, text: str) -> list[str]:
        """Return the depths in the order in which they were given."""
        return _each_once(text, self._depth)

    def _depth(self, word: str) -> str:
        if matches("[1-9][0-9]{0,9}", word) and int(word) <= self._most:
            return word
        if matches("([1-9][0-9]{0,3})?h|h/[1-9][0-9]{0,3}", word):
            return word
        raise wrong(f"{word!r} is not a depth like 16, h/2 or 2h, up to {self._most}")


def _one_of(known: tuple[str, ...], word: str) -> str:
    """Return a word that is known. Raises ArgumentTypeError for another."""
    if word not in known:
        raise wrong(f"{word!r} is not one of {', '.join(known)}")
    return word


def _each_once(text: str, read: Any) -> list[str]:
    """Return the parts of a list between its commas. Raises ArgumentTypeError for one twice."""
    found = [read(word.strip()) for word in text.split(",")]
    for word in found:
        if found.count(word) > 1:
            raise wrong(f"{word!r} is given more than once")
    return found
