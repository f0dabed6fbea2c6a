# SPDX-License-Identifier: GPL-2.0-only
"""Find the files that are not Python: the kernel module's sources and the templates.

An installed wheel carries them as package data (``page_alloc_bench/data/…``); a checkout has them
at its top level, beside ``bundle/``. Everything that needs one of them asks here, so that neither
the packager nor a target cares which of the two it runs from.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent.parent


class ResourceError(RuntimeError):
    """A directory that the project ships is in neither of the places it may be in."""


def _find(name: str) -> Path:
    """Return the directory NAME from the wheel's package data or else from the checkout."""
    candidates = (PACKAGE / "data" / name, CHECKOUT / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    places = " nor ".join(str(candidate) for candidate in candidates)
    raise ResourceError(
        f"{name}/ is neither {places}: install page-alloc-bench again, this copy is incomplete"
    )


def cache_dir() -> Path:
    """Return the directory of everything this project caches, which may not be there yet."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification tells programs to ignore a relative path.
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return home / "page-alloc-bench"


def absent_home() -> Path | None:
    """Return the home that the cache would be in, if it is not there: it is meant not to be.

    Users of services have HOME=/nonexistent, which nobody must make.
    """
    home = Path.home()
    return home if home in cache_dir().parents and not home.is_dir() else None


def kmod_dir() -> Path:
    """Return the directory that holds the kernel module's sources."""
    return _find("kmod")


def templates_dir() -> Path:
    """Return the directory that holds the jinja2 templates."""
    return _find("templates")


def render(template: str, **values: object) -> str:
    """Render a template of a shell script; a name it uses and values lacks is an error."""
    import jinja2  # noqa: PLC0415 - every command is imported for the help, and few render

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 - a shell script, not a web page
    )
    return environment.get_template(template).render(**values)
