# SPDX-License-Identifier: GPL-2.0-only
"""What is looked at before anything is changed on the host.

One class a finding (killing.py, panics.py, confinement.py, loading.py, swapping.py, timing.py,
layout.py, load.py), each with its advice; verdict.py runs them all and says what follows. Import
that one in a short-lived child only: it takes memory that a run must not keep.
"""

from __future__ import annotations

NOT_ROOT = "only root can load a kernel module; run it with sudo"
NOT_ROOT_TO_LOOK = "only root can look at a run on this host, or end it; do so with sudo"
