# SPDX-License-Identifier: GPL-2.0-only
"""What an option is.

From the declarations come the parser, --help, run.parameters of a result, its part of the JSON
Schema, how the values weigh when runs are compared, and the manual's tables.
"""

from __future__ import annotations

from page_alloc_bench.runner.kernel import procfs

TYPE_CHECKING = False  # typing itself takes milliseconds to import, and dataclasses more
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any, Literal, Optional

    # How a difference weighs when runs are compared: it refuses the comparison, it is listed, or it
    # is nothing to be told. None: the option is not a parameter of what is measured.
    Kind = Optional[Literal["invalidating", "other", "ignored"]]

_MAX_ORDER = 63
# Go's strconv.ParseBool.
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


def wrong(message: str) -> Exception:
    """Return what a type raises for a text that it does not take.

    --help needs neither argparse nor re, which take longer to import than all of ours.
    """
    import argparse

    return argparse.ArgumentTypeError(message)


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole text is as a regular expression has it."""
    import re

    return re.fullmatch(pattern, text) is not None


class Type:
    """The type of an option's value.

    Called with the text that was given, it returns the value, or raises ArgumentTypeError.
    """

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        raise NotImplementedError

    def __call__(self, text: str) -> Any:
        """Return the value."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """Return what argparse is to know of it."""
        return {"type": self}

    def shown(self, metavar: str) -> str:
        """Return what follows the option in the help. metavar: what stands for the value."""
        return f" {metavar}"


class Flag(Type):
    """Given or not."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "boolean"}

    def arguments(self) -> dict[str, Any]:
        """Return what argparse is to know of it."""
        return {"action": "store_true"}

    def shown(self, _metavar: str) -> str:
        """Return that nothing follows."""
        return ""


class Text(Type):
    """Any text that is not empty: no option means anything by an empty one."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "string"}

    def __call__(self, text: str) -> str:
        """Return the text."""
        if not text:
            raise wrong("an empty value names nothing")
        return text


class Labels(Type):
    """KEY=VALUE, any number of times: a dictionary."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "object", "additionalProperties": {"type": "string"}}

    def arguments(self) -> dict[str, Any]:
        """Return what argparse is to know of it."""
        from .actions import Collect

        return {"action": Collect, "type": self}

    def __call__(self, text: str) -> tuple[str, str]:
        """Return key and value."""
        key, equals, value = text.partition("=")
        if not equals or not matches("[a-z][a-z0-9_-]*", key) or not value.isprintable():
            raise wrong(f"{text!r} is not KEY=VALUE, with a KEY of small letters, digits, - and _")
        return key, value


class Integer(Type):
    """A whole number from low to high."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "integer"}

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def __call__(self, text: str) -> int:
        """Return the number."""
        if not matches(r"[0-9]+", text) or not self._low <= int(text) <= self._high:
            raise wrong(f"{text!r} is not a whole number from {self._low} to {self._high}")
        return int(text)


class Seconds(Type):
    """A time, 0 or more."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "number"}

    def __call__(self, text: str) -> float:
        """Return the number of seconds."""
        if not matches(r"[0-9]+(\.[0-9]+)?", text) or float(text) > 1e9:
            raise wrong(f"{text!r} is not a number of seconds, 0 or more")
        return float(text)


class Word(Type):
    """One of some words."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"enum": list(self._words)}

    def arguments(self) -> dict[str, Any]:
        """Return what argparse is to know of it."""
        return {"choices": self._words}

    def shown(self, _metavar: str) -> str:
        """Return the words."""
        return f" {{{','.join(self._words)}}}"


class Names(Type):
    """A list of names."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "array", "items": {"type": "string"}}

    def __call__(self, text: str) -> list[str]:
        """Return the names."""
        names = text.split(",")
        if not all(matches(r"[a-z0-9-]+", name) for name in names):
            raise wrong(f"{text!r} is not a list of names like swap,load")
        return names


class Orders(Type):
    """A list of orders, none of them twice."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "array", "items": {"type": "integer"}}

    def __call__(self, text: str) -> list[int]:
        """Return the orders."""
        orders = text.split(",")
        if not all(matches(r"[0-9]{1,2}", order) for order in orders):
            raise wrong(f"{text!r} is not a list of orders like 0,4")
        numbers = [int(order) for order in orders]
        if len(set(numbers)) != len(numbers):
            raise wrong(f"{text!r} names an order twice")
        if max(numbers) > _MAX_ORDER:
            raise wrong(f"order {max(numbers)} is larger than any kernel has")
        return numbers


class Cpus(Type):
    """A list of CPUs as the kernel writes it."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"type": "array", "items": {"type": "integer"}}

    def __call__(self, text: str) -> list[int]:
        """Return the numbers of the CPUs."""
        if matches(r".*[0-9]{6}.*", text):  # no machine has as many
            raise wrong(f"{text!r} names CPUs that no kernel supports")
        try:
            cpus = procfs.parse_list(text)
        except ValueError as error:
            raise wrong(f"{error}; CPUs are given like 0-3,8") from error
        if not cpus:
            raise wrong("names no CPU; CPUs are given like 0-3,8")
        return cpus


class Latencies(Type):
    """Which operations to time; also true and false, as Go reads them."""

    words = ("sampled", "all", "none")

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value in a result."""
        return {"enum": list(self.words)}

    def __call__(self, text: str) -> str:
        """Return one of words."""
        if text in _TRUE:
            return "sampled"
        if text in _FALSE:
            return "none"
        if text in self.words:
            return text
        raise wrong(f"{text!r} is not one of sampled, all, none, true, false")

    def arguments(self) -> dict[str, Any]:
        """Return what argparse is to know of it: without a value it is sampled."""
        return {"type": self, "nargs": "?", "const": "sampled"}

    def shown(self, metavar: str) -> str:
        """Return that the value may be left out."""
        return f" [{metavar}]"


class Option:
    """An option.

    name: in a result; on the command line with dashes for underscores. type: of its value. default:
    the value where it is not given. help: what it does. metavar: what stands for the value in the
    help. unit: of the value, "" if it has none. default_text: what the help says of the default;
    None: the value. kind: how a difference weighs when runs are compared. described: for the JSON
    Schema; "": the help is enough. always: whether every result of this version's schema has it.
    exclusive: of the options of one group that have this, one at most may be given. workload: the
    only one that it concerns, where that is declared apart from it. quick: the default with
    --quick; None: the same.
    """

    def __init__(
        self,
        name: str,
        type: Type,  # noqa: A002 - as argparse calls it
        default: Any,
        help: str,  # noqa: A002
        *,
        metavar: str = "",
        unit: str = "",
        default_text: str | None = None,
        kind: Kind = None,
        described: str = "",
        always: bool = True,
        exclusive: bool = False,
        workload: str = "",
        quick: Any = None,
    ) -> None:
        self.name = name
        self.type = type
        self.default = default
        self.help = help
        self.metavar = metavar
        self.unit = unit
        self.default_text = default_text
        self.kind = kind
        self.described = described
        self.always = always
        self.exclusive = exclusive
        self.workload = workload
        self.quick = quick

    @property
    def flag(self) -> str:
        """Return how it is given, such as --sample-size."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def shown(self) -> str:
        """Return it as the help has it, with what stands for its value."""
        return self.flag + self.type.shown(self.metavar or self.name.upper())

    @property
    def help_text(self) -> str:
        """Return what the help says, with the default."""
        text = self.default_text
        if text is None and self.default is not None and self.default is not False:
            text = _text(self.default)
        return f"{self.help} (default: {text})" if text else self.help

    def add_to(self, parser: argparse._ActionsContainer, *, own: bool = False) -> None:
        """Let a parser, or a group of one, take it; own: without a value where it is not given."""
        import argparse

        default = argparse.SUPPRESS if own else self.default
        arguments = {**self.type.arguments(), "help": self.help_text, "default": default}
        if self.metavar:
            arguments["metavar"] = self.metavar
        parser.add_argument(self.flag, **arguments)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its value in a result, and what else is to be known of it."""
        more = {"unit": self.unit} if self.unit else {}
        text = self.described or self.help[:1].upper() + self.help[1:] + "."
        return {**self.type.schema(), **more, "comparison": self.kind, "description": text}


class Group:
    """Options that stand together in the help."""

    def __init__(self, title: str, options: tuple[Option, ...]) -> None:
        self.title = title
        self.options = options


def all_fits(_options: argparse.Namespace) -> str | None:
    """Return that nothing is wrong with the options."""
    return None


class Part:
    """Something that has options of its own: a pattern or a workload.

    name: of it. title: of its options' group in the help. check: completes the options once all
    are parsed, and returns what does not fit together, None if all does.
    """

    def __init__(
        self,
        name: str,
        title: str,
        options: tuple[Option, ...],
        check: Callable[[argparse.Namespace], str | None] = all_fits,
    ) -> None:
        self.name = name
        self.title = title
        self.options = options
        self.check = check


def _text(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
