# SPDX-License-Identifier: GPL-2.0-only
"""Why an OOM kill came, as run.iterations has it: the names are those of mm/oom_kill.c."""

from __future__ import annotations

# include/linux/oom.h: the whole machine was out of memory.
WHOLE_MACHINE = "CONSTRAINT_NONE"
