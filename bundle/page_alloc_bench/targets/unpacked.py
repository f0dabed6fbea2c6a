# SPDX-License-Identifier: GPL-2.0-only
"""A bundle as the files that it would unpack on the host that it runs on.

Under emulation, unpacking Python takes longer than the rest of a start, and compiling the runner
half of what is left: a guest that runs a bundle once gets the files, compiled.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.runner.bundle_file.kbuild_environment import environment
from page_alloc_bench.targets.process import TargetError, run

_PACKED = "python-*.tar.gz"  # as `--extract` names the Python of a bundle


@dataclass(frozen=True)
class Unpacked:
    """What to put into a guest. files: path there → local file. command: what runs the bundle."""

    files: Mapping[str, Path]
    command: tuple[str, ...]


def unpack(bundle: Path, here: Path, there: str) -> Unpacked:
    """Unpack BUNDLE into the new directory HERE, which will be THERE in the guest.

    The bundle may be of another architecture than this host. Raises TargetError for one that
    brings no Python: the guest has none.
    """
    run([sys.executable, "-I", str(bundle), "--extract", str(here)])
    packed = next(here.glob(_PACKED), None)
    if packed is None:
        raise TargetError(f"{bundle} brings no Python, and the guest has none: build it with one")
    (here / "python").mkdir()
    run(["tar", "-xzf", str(packed), "-C", str(here / "python")], env=environment())
    packed.unlink()
    _compile(here, there)
    files = {
        f"{there}/{path.relative_to(here)}": path for path in here.rglob("*") if path.is_file()
    }
    command = (*_python(here, there), f"{there}/__main__.py")
    return Unpacked(files, command)


def _python(here: Path, there: str) -> tuple[str, ...]:
    """Return the command of the Python unpacked HERE, as it is where HERE is THERE."""
    loader = next((here / "python/lib").glob("ld-*"))
    python = f"{there}/python"
    return (
        f"{python}/lib/{loader.name}", "--inhibit-cache", "--library-path", f"{python}/lib",
        f"{python}/bin/python3", "-I", "-S", "-B",
    )  # fmt: skip


def _compile(here: Path, there: str) -> None:
    """Put compiled modules beside the sources, which say that they are THERE.

    Not where the Python is of another architecture than this host: the guest compiles them then.
    """
    command = _python(here, str(here))
    if platform.machine().replace("_", "-") not in Path(command[0]).name:
        return
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(here), "-p", there]
    run([*command, "-m", "compileall", *options, str(here / "site-packages")])
