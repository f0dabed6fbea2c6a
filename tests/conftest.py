# SPDX-License-Identifier: GPL-2.0-only
"""What all tests stand on: signals that arrive, a budget of time, and one guest for those that
leave it as it was.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import attempts
import budget
import lab
from bundle_maker import make_bundle, own_interpreter, start
from once import once
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.packager.interpreter import Interpreter
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that several directories of tests share."""
    budget.add_option(parser)
    parser.addoption(
        "--update-readme",
        action="store_true",
        help="write the table of these tests into README.md, once every one has passed",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start the clock, and take signals as a terminal sends them.

    nohup and a shell's `&` have some of them ignored.
    """
    budget.register(config)
    config.addinivalue_line("markers", attempts.MARK)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: compressed ones may differ in each process that collects."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    """A guest like a small two-node server on the default kernel."""
    with Guest("6.1", cpus=4, nodes=2, memory="1536M", cmdline_extra=lab.CLEAR_FAST) as booted:
        lab.let_khugepaged_sleep(booted)
        yield booted


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for the default kernel, as a user builds it; beside it is its bench.cdx.json.

    Nobody may change it.
    """

    def make(place: Path) -> None:
        place.mkdir()
        bench, sbom = place / "bench.run", place / "bench.cdx.json"
        request = BuildRequest(kdir=kernels.fetch().kdir, output=bench, sbom=sbom)
        build(request, progress=lambda _message: None)

    return once(tmp_path_factory, "bundle", make) / "bench.run"


@pytest.fixture(scope="session")
def plain_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the reporting runner, for the Python of the host; nobody may change it."""
    return once(tmp_path_factory, "plain/bench.run", make_bundle)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where a bundle is told to unpack, so that a test sees what stays behind."""
    path = tmp_path / "scratch of the test"
    path.mkdir()
    return path


WITHOUT_PYTHON = """
    mount=$1 served=$2 python=$3
    shift 3
    $mount --bind $python $served &&
    for usual in /usr/bin/python3 /usr/local/bin/python3; do
        test ! -e $usual || $mount --bind /dev/null $usual || exit
    done && exec "$@"
"""


@pytest.fixture
def hidden(tmp_path: Path) -> list[str]:
    """Words that start a command where no Python is in the usual places, so that PATH is all.

    This one serves at tmp_path/served there, wherever it stands otherwise.
    """
    served = tmp_path / "served"
    served.touch()
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    words = [
        *(shutil.which("unshare") or "", *own, "--mount", "/bin/sh", "-c", WITHOUT_PYTHON, "sh"),
        *(shutil.which("mount") or "", str(served), os.path.realpath(sys.executable)),
    ]
    tried = start([*words, "/bin/sh", "-c", "! /usr/bin/python3 -c 1 2>/dev/null"])
    if tried.returncode:
        pytest.skip(f"no mount namespace here: {tried.stderr}")
    return words


@pytest.fixture(scope="session")
def own_python(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """The Python that runs the tests, as a bundle brings it."""
    path = once(
        tmp_path_factory, "python.pickle", lambda p: p.write_bytes(pickle.dumps(own_interpreter()))
    )
    interpreter = pickle.loads(path.read_bytes())
    assert isinstance(interpreter, Interpreter)
    return interpreter


@pytest.fixture(scope="session")
def embedding_bundle(own_python: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as the plain bundle, and it brings its Python."""
    return once(
        tmp_path_factory, "embedding/bench.run", lambda p: make_bundle(p, interpreters=[own_python])
    )
