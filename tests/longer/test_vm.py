# SPDX-License-Identifier: GPL-2.0-only
"""The command that runs a bundle in a guest brings its result, or what there is of it."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from page_alloc_bench.targets import vm

BUNDLE = """\
#!/bin/sh
echo "args: $*" >&2
trap 'echo "{\\"complete\\": false}"; exit 130' INT TERM
case $1 in
wait) echo waiting >&2; n=0; while [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done ;;
exit) exit "$2" ;;
esac
printf '{"uid": %s, "name": "%s"}\\n' "$(id -u)" "$SUDO_USER"
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A stand-in for a bundle; not executable, as after a download."""
    path = tmp_path / "bench.run"
    path.write_text(BUNDLE)
    return path


def test_vm_brings_result_progress_and_status(
    bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result, console = tmp_path / "result.json", tmp_path / "console"
    run = functools.partial(vm.run_bundle, bundle, cpus=1, nodes=1, memory="512M")
    words = ["--seed", "a b"]
    assert run(words, output=result, console=console) == 0
    assert result.read_text() == '{"uid": 0, "name": "bench"}\n'
    assert "guest: ready" in console.read_text()
    assert "args: --seed a b" in capfd.readouterr().err
    none = tmp_path / "none.json"
    # ssh fails with this status too; here it is the run's own.
    assert run(["exit", "255"], output=none) == 255
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bench.run",
        "console",
        "result.json",
    ]
    capfd.readouterr()
    assert run([]) == 0
    assert capfd.readouterr().out == '{"uid": 0, "name": "bench"}\n'


RUN = """
import sys
from pathlib import Path
from page_alloc_bench.targets import vm
sys.exit(vm.run_bundle(Path(sys.argv[1]), ["wait"], cpus=1, nodes=1, memory="512M",
                       output=Path(sys.argv[2])))
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_vm_interrupted_brings_the_partial_result(
    bundle: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    result = tmp_path / "result.json"
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, bundle, result],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stderr is not None
    seen = []
    for line in run.stderr:
        seen.append(line)
        if line == "waiting\n":
            # As a terminal does it: to every process of the group.
            os.killpg(run.pid, signum)
    assert run.wait() == 128 + signum, seen
    assert result.read_text() == '{"complete": false}\n'
