# SPDX-License-Identifier: GPL-2.0-only
"""A bundle as the files that it would unpack on the host that it runs on.

Under emulation, unpacking Python takes longer than the rest of a start: a guest that runs a bundle
once gets the files.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    run(["tar", "-xzf", str(packed), "-C", str(here / "python")])
    packed.unlink()
    loader = next((here / "python/lib").glob("ld-*"))
    files = {
        f"{there}/{path.relative_to(here)}": path for path in here.rglob("*") if path.is_file()
    }
    python = f"{there}/python"
    return Unpacked(
        files,
        (
            f"{python}/lib/{loader.name}", "--inhibit-cache", "--library-path", f"{python}/lib",
            f"{python}/bin/python3", "-I", "-S", "-B", f"{there}/__main__.py",
        ),
    )  # fmt: skip
