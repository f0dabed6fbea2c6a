# SPDX-License-Identifier: GPL-2.0-only
"""How the boot of a kernel, and the run in it, can end: each way has a name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from page_alloc_bench.runner.errors import EXIT_COMPLETE, EXIT_HOST_UNFIT, EXIT_USAGE
from page_alloc_bench.runner.options import PROGRAM
from page_alloc_bench.targets.process import TargetError

End = Literal[
    "ok",
    "boot-timeout",
    "panic",
    "oops-at-boot",
    "oops-in-run",
    "hang-in-run",
    "wrong-kernel",
    "refused",
    "run-failed",
    "infra",
    "aside",
]
# include/linux and arch/*/kernel: what a kernel writes that went wrong, and goes on.
_OOPS = re.compile(r"\bOops\b|\bBUG: |general protection fault|kernel BUG at")
_PANIC = re.compile(r"Kernel panic - not syncing")
_ERROR = "error: "
# kernel/module/main.c: the first words about a module that is not of the kernel's tree.
_OURS = "page_alloc_bench: loading out-of-tree module"


@dataclass(frozen=True)
class Outcome:
    """What came of a boot.

    document: the result, if there is one. reason: why it is not "ok". console, log: what the kernel
    wrote, and its log at the end. facts: what else is to be known of it, such as its seconds.
    """

    end: End
    document: dict[str, Any] | None = None
    reason: str = ""
    console: str = ""
    log: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class GuestEndedError(TargetError):
    """A guest did not come to the end of its script; end: how; console: what its kernel wrote."""

    def __init__(self, message: str, end: End, console: str) -> None:
        super().__init__(message)
        self.end: End = end
        self.console = console


def how_it_ended(console: str, *, ready: bool, status: int | None) -> End:
    """Return how a guest ended that did not come to the end of its script.

    ready: its first program had begun. status: of QEMU, None where it had to be ended.
    """
    if _PANIC.search(console):
        return "panic"
    if _OOPS.search(console):
        return "oops-in-run" if ready else "oops-at-boot"
    if status is None:
        return "hang-in-run" if ready else "boot-timeout"
    # A machine that resets without a word; anything else was not the kernel's doing.
    return "panic" if status == 0 else "infra"


def panic(console: str) -> str | None:
    """Return the line of a kernel that panicked; None where none did."""
    found = _PANIC.search(console)
    if found is None:
        return None
    return console[found.start() :].partition("\n")[0].strip()


def oops(log: str) -> tuple[End, str] | None:
    """Return when a kernel's log has an oops, and its line; None if it has none."""
    found = _OOPS.search(log)
    if found is None:
        return None
    line = log[log.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0]
    loaded = log.find(_OURS)
    at_boot = loaded < 0 or found.start() < loaded
    return ("oops-at-boot" if at_boot else "oops-in-run"), line


def judged(status: int, files: Mapping[str, bytes], said: str, release: str | None) -> Outcome:
    """Return the outcome of a guest that came to its end, by what it sent.

    status: the benchmark's exit status. files: "result.json" and "dmesg". said: the end of what the
    benchmark wrote to stderr. release: what the kernel has to say that it is, if that is known.
    """
    document = _document(files)
    trouble = oops(files.get("dmesg", b"").decode(errors="replace"))
    if trouble is not None:
        return Outcome(trouble[0], document, f"the kernel's log has: {trouble[1]}")
    said = _what_is_wrong(said)
    if status in (EXIT_USAGE, EXIT_HOST_UNFIT):
        return Outcome("refused", document, said)
    if status != EXIT_COMPLETE or document is None or not document["run"]["complete"]:
        return Outcome("run-failed", document, f"exit status {status}: {said}")
    booted = document["run"]["kernel"]["release"]
    if release is not None and booted != release:
        return Outcome("wrong-kernel", document, f"{booted} booted, not {release}")
    return Outcome("ok", document)


def without_name(line: str) -> str:
    """Return a line of the benchmark's stderr without the name that it begins with."""
    return line.removeprefix(f"{PROGRAM}: ")


def _what_is_wrong(said: str) -> str:
    """Return what the benchmark says from its first error on, or all where none is there."""
    lines = [without_name(line) for line in said.splitlines()]
    first = next((at for at, line in enumerate(lines) if line.startswith(_ERROR)), 0)
    return "\n".join(line.removeprefix(_ERROR) for line in lines[first:])


def _document(files: Mapping[str, bytes]) -> dict[str, Any] | None:
    try:
        document = json.loads(files.get("result.json") or b"null")
    except ValueError:
        return None
    return document if isinstance(document, dict) and "run" in document else None
