# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel refuses is told in words, with what to do."""

from __future__ import annotations

import errno
import os

import pytest

from page_alloc_bench.runner import errors
from page_alloc_bench.runner.lifetime import oom_score


def test_a_container_that_keeps_its_oom_score_is_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oom_score, "OOM_SCORE_ADJ", "/proc/self/stat")  # takes no write
    with (
        pytest.raises(errors.HostUnfitError, match="not in a container"),
        oom_score.from_oom_killer(),
    ):
        pytest.fail("it was not refused")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOSYS, errno.ENOMEM])
@pytest.mark.parametrize("file", [None, "/dev/page_alloc_bench"])
def test_no_error_is_told_as_a_number(number: int, file: str | None) -> None:
    told = errors.describe(OSError(number, os.strerror(number), file))
    assert os.strerror(number) in told
    assert "Errno" not in told
    assert file is None or told.startswith(file)
