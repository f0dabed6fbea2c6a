# SPDX-License-Identifier: GPL-2.0-only
"""What can come of a host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

OK = "ok"  # the result is here, and the host is as it was
REFUSED = "refused"  # by the preflight; the reason names its findings
NO_MODULE = "no-module"  # no bundle has one for its kernel; nothing was brought there
UNREACHABLE = "unreachable"  # it could not be logged in to, or gave no answer for too long
UNCLEAN = "unclean"  # the module, a process or a file may be left there
FAILED = "failed"  # a step failed, or the run ended without a whole result
DRAINED = "drained"  # the hook that puts it back into service failed
NEW_FAILS = "new-fails"  # in a cross-over: the new kernel does not survive there, and base does
STOPPED = "stopped"  # its run was ended by `fleet stop`
TIMEOUT = "timeout"  # a step, or the run, took too long

Note = Callable[[str], object]
# Takes the file of a whole result.
Keep = Callable[[Path], object]


class FleetError(Exception):
    """A fleet cannot be run; the message says why and what to do."""
