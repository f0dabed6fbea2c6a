# SPDX-License-Identifier: GPL-2.0-only
"""Which function of the kernel spent the instructions: a plugin of QEMU, and what it counted.

The plugin (templates/where.c) is compiled with this host's compiler and kept in the cache. It
counts between the markers that the module executes around a pattern's work (kmod/marker.h).
"""

from __future__ import annotations

import bisect
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from page_alloc_bench import resources
from page_alloc_bench.targets import cache
from page_alloc_bench.targets.machine import emulator
from page_alloc_bench.targets.process import CommandError, TargetError, run

PLUGIN_OUTPUT = "where"  # its name in the scratch directory of the guest
MODULE, USER = "[module]", "[user]"
_KERNEL_BEGINS = 1 << 63
_LAST_FUNCTION = 1 << 16  # bytes that the last function of the kernel may have
_FLAGS = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden")


@dataclass
class Counts:
    """What was executed: instructions, those of them that lock the bus, and accesses to memory.

    ``loads`` and ``stores`` are None where this QEMU does not tell them apart.
    """

    instructions: int = 0
    atomics: int = 0
    loads: int | None = 0
    stores: int | None = 0

    def add(self, other: Counts) -> None:
        """Add OTHER to this."""
        self.instructions += other.instructions
        self.atomics += other.atomics
        for name in ("loads", "stores"):
            mine, more = getattr(self, name), getattr(other, name)
            setattr(self, name, None if mine is None or more is None else mine + more)


@dataclass
class Interval:
    """What ran between a begin and an end marker: the counts by function."""

    functions: dict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))

    def total(self) -> Counts:
        """Return the sum over all functions."""
        total = Counts()
        for counts in self.functions.values():
            total.add(counts)
        return total


class Symbols:
    """The functions of a kernel, by address."""

    def __init__(self, kallsyms: str) -> None:
        """Read lines of /proc/kallsyms; what belongs to a module is left out.

        Raises TargetError where the addresses are hidden or there are none.
        """
        found: dict[int, str] = {}
        for line in kallsyms.splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in "tTwW":
                address = int(words[0], 16)
                if address >= _KERNEL_BEGINS:
                    # Of several names of one place the first is the usual one.
                    found.setdefault(address, words[2])
        if not found:
            raise TargetError(
                "the guest's /proc/kallsyms names no function: it needs CONFIG_KALLSYMS=y"
            )
        self._addresses = sorted(found)
        self._names = [found[address] for address in self._addresses]

    def function(self, address: int) -> str:
        """Return the function that ADDRESS is in, or MODULE or USER."""
        if address < _KERNEL_BEGINS:
            return USER
        index = bisect.bisect_right(self._addresses, address) - 1
        beyond = address - self._addresses[-1]
        return MODULE if index < 0 or beyond > _LAST_FUNCTION else self._names[index]


def plugin(arch: str) -> Path:
    """Return the plugin for the QEMU that emulates ARCH, compiled into the cache if need be.

    Raises TargetError, with the reason, where that cannot be done.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise TargetError("no C compiler is installed: apt-get install gcc")
    source, marker = resources.templates_dir() / "where.c", resources.kmod_dir() / "marker.h"
    key = cache.digest(source.read_text(), marker.read_text(), *_FLAGS)

    def build(temporary: Path, _final: Path) -> None:
        argv = [compiler, *_FLAGS, f"-I{marker.parent}", "-o", str(temporary / "where.so")]
        run([*argv, str(source)])

    made = cache.entry("plugins", key, build, "the plugin that counts by function") / "where.so"
    _require_plugins(arch, made)
    return made


def _require_plugins(arch: str, made: Path) -> None:
    """Raise TargetError where the QEMU for ARCH does not take the plugin MADE."""
    argv = [emulator(arch), "-M", "none", "-display", "none", "-plugin", f"{made},out=/dev/null"]
    try:
        run([*argv, "-S", "-monitor", "stdio"], stdin="quit\n", timeout=20)
    except CommandError as error:
        raise TargetError(f"this QEMU does not take the plugin: {error}") from error


def arguments(made: Path) -> list[str]:
    """Return QEMU's arguments for the plugin MADE; ``{scratch}`` is the guest's directory."""
    return ["-plugin", f"{made},out={{scratch}}/{PLUGIN_OUTPUT}"]


def read(text: str, function: Callable[[int], str]) -> list[Interval]:
    """Return the intervals of the plugin's output TEXT; FUNCTION names an address.

    An interval that does not end is left out. Raises TargetError for a text that is not the
    plugin's.
    """
    intervals: list[Interval] = []
    current, known = Interval(), True
    for number, line in enumerate(text.splitlines(), 1):
        word, *values = line.split()
        try:
            if word == "access":
                known = values[0] != "unknown"
            elif word == "interval":
                current = Interval()
            elif word == "block":
                name, counts = _block(values, function, known)
                current.functions[name].add(counts)
            elif word == "end":
                intervals.append(current)
            else:
                raise ValueError(word)
        except (ValueError, IndexError) as error:
            raise TargetError(f"the plugin wrote a line {number} that is not its own") from error
    return intervals


def _block(
    values: Iterable[str], function: Callable[[int], str], known: bool
) -> tuple[str, Counts]:
    address, *rest = values
    instructions, atomics, loads, stores = map(int, rest)
    return function(int(address, 16)), Counts(
        instructions,
        atomics,
        loads if known else None,
        stores if known else None,
    )
