# SPDX-License-Identifier: GPL-2.0-only
"""Kernels built from Debian's source: configurations that no distribution ships.

A row of kernels.KERNELS with ``config`` names the fragments of its configuration, files in
templates/kernel-config. The source tree and each build are kept in the cache.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from page_alloc_bench import resources
from page_alloc_bench.runner.bundle_file.kbuild_environment import environment
from page_alloc_bench.space import Room
from page_alloc_bench.targets import build_root, cache
from page_alloc_bench.targets.apt import PrivateApt
from page_alloc_bench.targets.process import CommandError, TargetError, need, run

_SUITES = ("trixie", "trixie-security")
_IMAGE = "arch/x86/boot/bzImage"
# Who built a kernel, and where, is nobody's business and would differ between machines.
_ANONYMOUS = ("KBUILD_BUILD_USER=builder", "KBUILD_BUILD_HOST=localhost")


class Kernel(Protocol):
    """What a row of kernels.KERNELS has to say to be built: see there."""

    @property
    def name(self) -> str:
        """Return its name, VERSION-FLAVOUR."""

    @property
    def suites(self) -> tuple[str, ...]:
        """Return where its source is looked for."""

    @property
    def config(self) -> tuple[str, ...]:
        """Return the fragments of its configuration."""

    @property
    def make(self) -> tuple[str, ...]:
        """Return words for make's command line."""


def source(version: str, suites: Sequence[str] = _SUITES, *, refresh: bool = False) -> Path:
    """Return the unpacked source tree of Debian's kernel VERSION ("6.12") in the newest of SUITES.

    It is made in the cache if need be, and clean, as ``make O=`` asks for; nobody may write there.
    """
    directory = cache.entry(
        "sources",
        f"linux-{version}-{cache.digest(*suites)}",
        lambda temporary, _final: _fetch_source(version, suites, temporary),
        f"the source of Debian's kernel {version}",
        room=Room(2400, 100_000),
        refresh=refresh,
    )
    return directory / "linux"


def source_of(kernel: Kernel, *, refresh: bool = False) -> Path:
    """Return the source tree that the row KERNEL is built from."""
    return source(kernel.name.partition("-")[0], kernel.suites, refresh=refresh)


def build(kernel: Kernel, *, refresh: bool = False) -> Path:
    """Return the cached build of the row KERNEL, a directory as kernels.fetch() makes it.

    ``build`` in it is the O= directory of a whole build, with the key that modules are signed with
    in ``build/certs/signing_key.pem`` and its certificate in ``build/certs/signing_key.x509``.
    """
    if refresh:
        source_of(kernel, refresh=True)
    return cache.entry(
        "kernels",
        key(kernel),
        lambda temporary, _final: _build(kernel, _config(kernel), temporary),
        f"the kernel {kernel.name} from Debian's source (some minutes)",
        room=Room(2000, 30_000),
        refresh=refresh,
    )


def key(kernel: Kernel) -> str:
    """Return the name that the build of the row KERNEL has in the cache."""
    options = sorted(f"{name}={value}" for name, value in options_of(_config(kernel)).items())
    return f"{kernel.name}-{cache.digest(*options, *kernel.suites, *kernel.make)}"


def _config(kernel: Kernel) -> str:
    """Return the configuration that is asked for."""
    return read_fragments(kernel.config) + local_version(kernel)


def missing_options(asked: str, got: str) -> list[str]:
    """Return the lines of the configuration ASKED that the configuration GOT does not keep."""
    wanted, there = options_of(asked), options_of(got)
    return [
        f"CONFIG_{name}={value}" for name, value in wanted.items() if there.get(name, "n") != value
    ]


def options_of(config: str) -> Mapping[str, str]:
    """Return the options of the text CONFIG, those that are not set as "n"."""
    unset = dict.fromkeys(re.findall(r"^# CONFIG_(\w+) is not set$", config, re.M), "n")
    return unset | dict(re.findall(r"^CONFIG_(\w+)=(.*)$", config, re.M))


def read_fragments(names: Sequence[str]) -> str:
    """Return the text of the fragments of a .config that have these NAMES, in this order."""
    directory = resources.templates_dir() / "kernel-config"
    return "".join((directory / f"{name}.config").read_text() for name in names)


def local_version(kernel: Kernel) -> str:
    """Return the option that makes ``uname -r`` of the row 6.12-x end in -x."""
    return f'CONFIG_LOCALVERSION="-{kernel.name.partition("-")[2]}"\n'


def _fetch_source(version: str, suites: Sequence[str], temporary: Path) -> None:
    """Put the source tree of Debian's kernel VERSION into TEMPORARY/linux."""
    apt = PrivateApt(temporary / "apt", suites, "amd64")
    apt.update()
    apt.extract([f"linux-source-{version}"], temporary / "package")
    archive = temporary / f"package/usr/src/linux-source-{version}.tar.xz"
    tree = temporary / "linux"
    tree.mkdir()
    need("xz", "xz-utils")
    unpack = ["tar", "-xJf", str(archive), "--strip-components=1", "-C", str(tree)]
    run(unpack, env=environment())
    shutil.rmtree(temporary / "apt")
    shutil.rmtree(temporary / "package")


def _build(kernel: Kernel, config: str, temporary: Path) -> None:
    """Build KERNEL with the configuration CONFIG in TEMPORARY."""
    objects = temporary / "build"
    objects.mkdir()
    asked = objects / "asked.config"
    asked.write_text(config)
    _make(kernel, objects, f"KCONFIG_ALLCONFIG={asked}", "allnoconfig")
    missing = missing_options(config, (objects / ".config").read_text())
    if missing:
        raise TargetError(
            f"the configuration of the kernel {kernel.name} does not keep {', '.join(missing)}: "
            "an option that they depend on is missing in its fragments"
        )
    _make(kernel, objects, f"-j{os.cpu_count()}", "bzImage", "modules")
    # All is built in: what lib/modules of an installed kernel would say of that is enough.
    modules = temporary / "modules"
    modules.mkdir()
    shutil.copy(objects / "modules.builtin", modules)
    about = {
        "release": (objects / "include/config/kernel.release").read_text().strip(),
        "vmlinuz": f"build/{_IMAGE}",
        "modules_dir": "modules",
        "kdir": "build",
    }
    (temporary / "kernel.json").write_text(json.dumps(about, indent=1))


def _make(kernel: Kernel, objects: Path, *words: str) -> None:
    tree = source_of(kernel)
    argv = ["make", "-s", "-C", str(tree), f"O={objects}", *_ANONYMOUS, *kernel.make, *words]
    try:
        run(build_root.command(argv, writable=[objects], readonly=[tree]), env=environment())
    except CommandError as error:
        raise TargetError(f"the kernel {kernel.name} does not build\n{error}") from error
