# SPDX-License-Identifier: GPL-2.0-only
"""Keep this process from being what the OOM killer takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from page_alloc_bench.runner.errors import HostUnfitError
from page_alloc_bench.runner.kernel import procfs

OOM_SCORE_ADJ = "/proc/self/oom_score_adj"
_NEVER = -1000  # OOM_SCORE_ADJ_MIN in include/uapi/linux/oom.h


@contextmanager
def from_oom_killer() -> Iterator[None]:
    """Exempt this process, and what it forks meanwhile, from the OOM killer.

    Raises HostUnfitError where the kernel does not let it, as it does in some containers whatever
    capabilities they have.
    """
    before = procfs.read(OOM_SCORE_ADJ).strip()
    try:
        _write(str(_NEVER))
    except OSError as error:
        raise HostUnfitError(
            f"{OOM_SCORE_ADJ}: {error.strerror}: the runner cannot be kept from the OOM killer. "
            "Run it as root of the host, and not in a container"
        ) from error
    try:
        yield
    finally:
        _write(before)


def _write(value: str) -> None:
    with open(OOM_SCORE_ADJ, "w", encoding="ascii") as file:
        file.write(value)
