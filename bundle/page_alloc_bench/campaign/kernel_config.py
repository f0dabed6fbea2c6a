# SPDX-License-Identifier: GPL-2.0-only
"""The configuration that all revisions of a comparison are built with, and what still differs."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.runner.preflight import timing
from page_alloc_bench.targets import kconfig
from page_alloc_bench.targets.process import UsageError

RUNNING = "running"
DEFAULT = "defconfig"
NEEDED = (*kconfig.NEEDED, *kconfig.SERIAL)
# Of each build: what would differ between two builds of one tree, or names files of a distribution
# that its source does not have.
_OURS = """\
# CONFIG_MODULE_SIG is not set
CONFIG_SYSTEM_TRUSTED_KEYS=""
CONFIG_SYSTEM_REVOCATION_KEYS=""
# CONFIG_LOCALVERSION_AUTO is not set
"""


@dataclass(frozen=True)
class Asked:
    """The configuration as it is asked for.

    ``base``: the text of a .config, or the name of a target of make such as defconfig.
    ``fragments``: texts that come after it, the last one wins. ``make``: words for make's command
    line, such as LLVM=1.
    """

    base: str
    fragments: tuple[str, ...] = ()
    make: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """Return the target of make that makes the base, or ""."""
        return self.base if re.fullmatch(r"\w+", self.base) else ""

    def merged(self, arch: str) -> list[str]:
        """Return all fragments: what a guest needs, what a build of ours needs, the user's."""
        needed = [n for n in NEEDED if n.arch in ("", arch) and not n.least]
        return [kconfig.fragment(needed), _OURS, *self.fragments]


def asked(config: str, fragments: Sequence[Path] = (), make: Sequence[str] = ()) -> Asked:
    """Return what the options ask for. config: a file, "running", or a target of make.

    Raises UsageError.
    """
    for word in make:
        if not re.fullmatch(r"\w+=.*", word):
            raise UsageError(f"--make {word}: give NAME=VALUE, such as LLVM=1")
    path = Path(config).expanduser()
    if path.is_file():
        base = _read(path)
    elif config == RUNNING:
        base = _running()
    elif re.fullmatch(r"\w+config", config):
        base = config
    else:
        raise UsageError(
            f"--config {config}: there is no such file; give one, {DEFAULT}, another target of "
            f"make that ends in config, or {RUNNING}"
        )
    return Asked(base, tuple(map(_read, fragments)), tuple(make))


def _read(path: Path) -> str:
    try:
        text = path.read_bytes()
        text = gzip.decompress(text) if text[:2] == b"\x1f\x8b" else text
        found = text.decode()
    except (OSError, EOFError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if not kconfig.read(found):
        raise UsageError(f"{path} is not a configuration of a kernel: it sets no CONFIG_ option")
    return found


def _running() -> str:
    release = os.uname().release
    places = [Path("/proc/config.gz"), Path(f"/boot/config-{release}")]
    places.append(Path(f"/lib/modules/{release}/config"))
    for place in places:
        if place.is_file():
            return _read(place)
    raise UsageError(
        f"the configuration of the running kernel is in none of {', '.join(map(str, places))}: "
        "give it with --config FILE"
    )


@dataclass(frozen=True)
class Difference:
    """An option that two configurations differ in; "absent" where a kernel does not know it."""

    symbol: str
    base: str
    new: str


def differences(base: str, new: str) -> list[Difference]:
    """Return the options in which two configurations differ, without CONFIG_, by name."""
    before, after = kconfig.read(base), kconfig.read(new)
    return [
        Difference(name, before.get(name, "absent"), after.get(name, "absent"))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def lost(asked_for: Asked, config: str) -> list[str]:
    """Return what the user's fragments ask for, and CONFIG does not have, as lines of a .config."""
    there = kconfig.read(config)
    wanted: dict[str, str] = {}
    for fragment in asked_for.fragments:
        wanted |= kconfig.read(fragment)
    return [
        f"CONFIG_{name}={value}" if value != "n" else f"# CONFIG_{name} is not set"
        for name, value in wanted.items()
        if there.get(name, "n") != value
    ]


def require_comparable(base: str, new: str, names: tuple[str, str]) -> None:
    """Raise UsageError where two configurations differ in an option for debugging.

    Such an option costs more than any patch; what a kernel does not know is off.
    """
    before, after = kconfig.read(base), kconfig.read(new)
    found = [s for s in _debugging() if before.get(s, "n") != after.get(s, "n")]
    if found:
        rows = "; ".join(
            f"CONFIG_{s} is {before.get(s, 'n')} in {names[0]}, {after.get(s, 'n')} in {names[1]}"
            for s in found
        )
        lines = "\n".join(f"# CONFIG_{symbol} is not set" for symbol in found)
        raise UsageError(
            f"the configurations differ in options for debugging, which cost more than a patch: "
            f"{rows}. Set them for both with --fragment FILE:\n{lines}"
        )


def _debugging() -> list[str]:
    found: Mapping[str, None] = dict.fromkeys(
        symbol
        for check in timing.CHECKS
        if isinstance(check, timing.DebugOption)
        for symbol in (check.option, check.by_default, check.unless)
        if symbol.isupper()
    )
    return [*found, "DEBUG_PAGE_REF", "DEBUG_SPINLOCK", "DEBUG_LOCK_ALLOC", "DEBUG_LIST", "UBSAN"]
