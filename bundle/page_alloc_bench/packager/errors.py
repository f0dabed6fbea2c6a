# SPDX-License-Identifier: GPL-2.0-only
"""The one exception that leaves the packager."""

from __future__ import annotations

FAILED = 1
NOT_FIT = 3


class PackagerError(Exception):
    """A build that cannot go on, told to the person who asked for it.

    ``message`` says what is wrong in one line or, where a tool has its own words, in several.
    ``advice`` says what to do next and may be empty. ``exit_code`` is what the command ends with:
    1 where something failed, 3 where the host or the kernel tree is not fit.
    """

    def __init__(self, message: str, advice: str = "", exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.exit_code = exit_code
