# SPDX-License-Identifier: GPL-2.0-only
"""Write the schema, every generated part of the documents, and the manual pages."""

from __future__ import annotations

import sys
from pathlib import Path

from . import pages, schema
from .tables import GENERATED


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(f"manual: wrote {path}", file=sys.stderr)


def main() -> None:
    """Write what has changed, and say so."""
    _write(schema.PATH, schema.text())
    for path in dict.fromkeys(part.path for part in GENERATED):
        text = path.read_text()
        for part in GENERATED:
            if part.path == path:
                text = part.update(text)
        _write(path, text)
    for name in pages.NAMES:
        _write(pages.path(name), pages.roff(name))


main()
