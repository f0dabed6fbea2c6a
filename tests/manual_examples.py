# SPDX-License-Identifier: GPL-2.0-only
"""The examples of the manual, to be tried as they stand there."""

from __future__ import annotations

import recorded


def example(topic: str, begin: str) -> str:
    """The block of a topic of the manual that begins so."""
    text = (recorded.TOP / f"bundle/page_alloc_bench/manual/{topic}.md").read_text()
    (found,) = [part for part in text.split("```")[1::2] if part.lstrip("\n").startswith(begin)]
    return found.strip("\n") + "\n"
