# SPDX-License-Identifier: GPL-2.0-only
"""Whether the programs that kbuild would start are here, and what each of them is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from page_alloc_bench.packager.errors import NOT_FIT, PackagerError

Which = Callable[[str], Optional[str]]

# Programs that start the compiler that is named after them.
_WRAPPERS = ("ccache", "sccache", "distcc", "icecc", "colorgcc")


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """How the caller wants to compile, in kbuild's own terms; None is kbuild's default.

    ``from_environment``: the names of those fields that nobody asked for on the command line: a
    shell or a container has left their variables set.
    """

    llvm: str | None = None
    arch: str | None = None
    cross_compile: str | None = None
    cc: str | None = None
    kcflags: str | None = None
    from_environment: tuple[str, ...] = ()

    def llvm_tool(self, name: str) -> str:
        """Return how ``LLVM=1``, ``LLVM=-15`` and ``LLVM=/usr/lib/llvm-15/bin/`` call a tool."""
        llvm = self.llvm or ""
        if llvm.endswith("/"):
            return llvm + name
        return name + llvm if llvm.startswith("-") else name

    def origin(self, field: str) -> str:
        """Return how the user would name where the value of a field comes from."""
        if field in self.from_environment:
            return f"{field.upper()}={getattr(self, field)} in the environment"
        return f"--{field.replace('_', '-')} {getattr(self, field)}"

    @property
    def strip(self) -> str:
        """The strip that understands what the compiler made."""
        return self.tool("llvm-strip" if self.llvm else "strip")

    def tool(self, name: str) -> str:
        """Return how the toolchain calls a tool of its own."""
        return self.llvm_tool(name) if self.llvm else (self.cross_compile or "") + name

    @property
    def package(self) -> str:
        """Debian's package of these tools."""
        if self.llvm:
            return "llvm" + (self.llvm if self.llvm.startswith("-") else "")
        target = (self.cross_compile or "").rstrip("-").replace("_", "-")
        return "-".join(filter(None, ("binutils", target)))


def package_of(program: str) -> str:
    """Return Debian's package of a compiler: gcc-12-aarch64-linux-gnu for its cross compiler."""
    name = program.rpartition("/")[2]
    cross = re.fullmatch(r"(.+-linux-\w+)-gcc(-\d+)?", name)
    return f"gcc{cross[2] or ''}-{cross[1].replace('_', '-')}" if cross else name


def require(command: str, built_with: str, said: str, which: Which) -> None:
    """Raise PackagerError unless the compiler that command starts is here, and its wrapper.

    built_with: the words that the tree's own compiler described itself with. said: who named the
    command, in brackets, or "".
    """
    for program in _programs(command, said):
        if not which(program):
            raise PackagerError(
                f"the compiler {program} is not installed (the tree was built with "
                f"{built_with or 'an unknown one'}){said}",
                f"install {package_of(program)}, or name another compiler with --cc",
                NOT_FIT,
            )


def require_tools(tools: dict[str, str], which: Which) -> None:
    """Raise PackagerError unless these programs are here; tools: each with where it comes from."""
    missing = [name for name in tools if not which(name)]
    if missing:
        names = ", ".join(missing)
        raise PackagerError(
            f"the compiler's own tools are not installed: {names}",
            f"install {tools[missing[0]]} (Debian's packages), or name another toolchain with "
            "--llvm or --cross-compile",
            NOT_FIT,
        )


def _programs(command: str, said: str) -> list[str]:
    """Return the wrapper, if there is one, and the compiler of a command with its options."""
    advice = "give --cc the compiler, as kbuild's CC=, such as gcc-12 or 'ccache gcc'"
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise PackagerError(
            f"{command!r} is not a command: {error}{said}", advice, NOT_FIT
        ) from error
    if not words:
        raise PackagerError(f"the compiler's name is empty{said}", advice, NOT_FIT)
    if words[0].rpartition("/")[2] not in _WRAPPERS:
        return words[:1]
    named = next((word for word in words[1:] if word[0] != "-" and "=" not in word), None)
    if named is None:
        raise PackagerError(
            f"{command!r} names no compiler after {words[0]}{said}", advice, NOT_FIT
        )
    return [words[0], named]
