# SPDX-License-Identifier: GPL-2.0-only
"""What is done in a child process comes back, and leaves nothing in this process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from page_alloc_bench.runner.errors import HostUnfitError, RunnerError
from page_alloc_bench.runner.lifetime import in_child


def test_a_value_comes_back() -> None:
    value = {"pid": os.getpid(), "data": b"\0" * 100_000, "list": [1, 2.5, None, "é"]}
    assert in_child.call(lambda: {**value, "pid": os.getppid()}) == value


def test_an_error_comes_back_with_its_exit_code() -> None:
    def refuse() -> None:
        raise HostUnfitError("no such host")

    with pytest.raises(RunnerError, match=r"^no such host$") as raised:
        in_child.call(refuse)
    assert raised.value.exit_code == HostUnfitError.exit_code


@pytest.mark.parametrize("end", [lambda: 1 // 0, lambda: os._exit(7), lambda: os.kill(0, 0).foo])
def test_any_other_end_is_an_error_too(end: object, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunnerError, match="a child process ended"):
        in_child.call(end)  # type: ignore[arg-type]


def test_nothing_stays_in_memory_and_no_descriptor_open() -> None:
    code = """if True:
        import os, sys
        from page_alloc_bench.runner import options
        from page_alloc_bench.runner.lifetime import in_child
        def look():
            from page_alloc_bench.runner.preflight import host, verdict
            return len(verdict.look(host.Host(options.parse([]))))
        before = os.listdir("/proc/self/fd")
        in_child.call(look)
        sys.exit("psutil" in sys.modules or os.listdir("/proc/self/fd") != before)
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_that_is_missing_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunnerError, match=r"^/nonexistent/table: No such file or directory$"):
        in_child.call(lambda: open("/nonexistent/table").close())
    assert capfd.readouterr().err == ""
