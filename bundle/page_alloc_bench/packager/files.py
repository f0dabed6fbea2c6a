# SPDX-License-Identifier: GPL-2.0-only
"""Write files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from page_alloc_bench.packager.errors import PackagerError


def write(path: Path, data: bytes, *, executable: bool = False) -> None:
    """Write ``path`` with the mode that the umask allows; PackagerError if that is impossible."""
    umask = os.umask(0)
    os.umask(umask)
    try:
        descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), (0o777 if executable else 0o666) & ~umask)
            os.replace(scratch, path)
        except BaseException:
            os.unlink(scratch)
            raise
    except OSError as error:
        raise PackagerError(f"{path} cannot be written: {error.strerror}") from error
