# SPDX-License-Identifier: GPL-2.0-only
"""A descriptor of a process, with Python's own calls and where it has none."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from page_alloc_bench.runner.kernel import pidfd


@pytest.fixture(params=["Python's", "the kernel's"], autouse=True)
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "the kernel's":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.delattr(signal, "pidfd_send_signal", raising=False)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_it_signals_and_tells_the_end(child: subprocess.Popen[bytes]) -> None:
    descriptor = pidfd.open_pidfd(child.pid)
    assert not pidfd.ended(descriptor, 0)
    pidfd.send_signal(descriptor, signal.SIGTERM)
    assert pidfd.ended(descriptor, 20)
    assert child.wait(20) == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        pidfd.send_signal(descriptor, signal.SIGTERM)
    os.close(descriptor)


def test_there_is_none_of_a_process_that_has_gone(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait(20)
    with pytest.raises(ProcessLookupError):
        pidfd.open_pidfd(child.pid)
