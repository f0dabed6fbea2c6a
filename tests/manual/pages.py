# SPDX-License-Identifier: GPL-2.0-only
"""The manual pages: templates/man/ filled with what is declared, and made into roff by docutils."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from docutils.core import publish_string
from docutils.writers import manpage
from myst_parser.docutils_ import Parser

import page_alloc_bench
from page_alloc_bench.cli import exit_codes
from page_alloc_bench.runner import errors

from . import declared
from .declared import MANUAL, TOP

NAMES = ("page-alloc-bench.1", "bench.run.1")
_NOTE = '.\\" Made by scripts/manual from templates/man/ and the options of the program.\n'


def path(name: str) -> Path:
    """Return where the page is kept; the wheel installs it from there."""
    return MANUAL / "man1" / name


def markdown(name: str) -> str:
    """Return the page's text: what people wrote, and what the code declares."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TOP / "templates/man"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(f"{name}.md.j2").render(
        version=page_alloc_bench.__version__,
        commands=declared.commands(),
        groups=declared.bundle_groups(),
        codes={
            "bundle": errors.EXIT_CODES,
            "commands": exit_codes.COMMANDS,
            "verdicts": declared.verdicts(),
        },
    )


def roff(name: str) -> str:
    """Return the page for man(1). Raises docutils' SystemMessage where the Markdown is wrong."""
    settings: dict[str, Any] = {
        "myst_enable_extensions": ["deflist"],
        "myst_suppress_warnings": ["myst.header"],  # a page begins at any level
        "output_encoding": "unicode",
        "halt_level": 2,
    }
    text = publish_string(
        markdown(name), parser=Parser(), writer=manpage.Writer(), settings_overrides=settings
    )
    return _NOTE + str(text)
