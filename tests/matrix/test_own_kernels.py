# SPDX-License-Identifier: GPL-2.0-only
"""`page-alloc-bench vm` on kernels of the user's own: each boots, or says why it does not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from matrix import own
from page_alloc_bench.packager.signing import Signer

VM = [sys.executable, "-m", "page_alloc_bench", "vm"]
GUEST = ["--cpus", "2", "--nodes", "1", "--mem", "1G"]
BENCH = ["--", "--iterations", "1", "--alloc-orders", "0", "--cpus", "0"]
IMAGE = "arch/x86/boot/bzImage"
# Each says within this time what is the matter, on a machine with nothing else to do.
LIMIT_S = 60.0
pytestmark = pytest.mark.seconds(60)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def tree() -> Path:
    return own.tree()


@pytest.fixture(scope="module")
def modular() -> Path:
    return own.with_modules()


@pytest.fixture(scope="module")
def bundle(tree: Path, place: Path) -> Path:
    return own.bundle(tree, place / "own.run")


@pytest.fixture(scope="module")
def modular_bundle(modular: Path, place: Path) -> Path:
    return own.bundle(modular, place / "modular.run")


@pytest.fixture(autouse=True)
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files, of which none may be left; its name is short for sockets."""
    with tempfile.TemporaryDirectory(prefix="pab-test.", dir="/tmp") as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)
        assert left(name) == []
        assert list(Path(name).iterdir()) == []


def left(name: str) -> list[str]:
    """Return the command lines of processes that name this."""
    words = (" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
    return [line for line in words if name in line and "pytest" not in line]


def vm(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    argv = [*VM, *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=1800)
    assert not check or done.returncode == 0, done.stderr
    return done


def result(text: str, release: str) -> Any:
    """Return the result, which is whole and of this kernel."""
    document = json.loads(text)
    assert document["run"]["complete"] is True
    assert document["run"]["kernel"]["release"] == release
    assert document["kernel_page_allocs_order0"][0] > 0
    return document


def release(tree: Path) -> str:
    return (tree / "include/config/kernel.release").read_text().strip()


@pytest.mark.parametrize("reach", ["auto", "disk", "serial"])
def test_a_kernel_without_virtio_runs_the_benchmark(tree: Path, bundle: Path, reach: str) -> None:
    done = vm("--kdir", tree, "--reach", reach, *GUEST, bundle, *BENCH)
    result(done.stdout, release(tree))
    assert ("the guest was ready after" in done.stderr) == (reach == "auto")  # by ssh


def test_in_its_tree_it_needs_no_name(
    tree: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    result(vm("--reach", "serial", *GUEST, bundle, *BENCH).stdout, release(tree))


def test_a_tree_whose_modules_are_not_installed(modular: Path, modular_bundle: Path) -> None:
    done = vm("--kdir", modular, *GUEST, modular_bundle, *BENCH)
    result(done.stdout, release(modular))
    assert "the guest was ready after" in done.stderr


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_an_image_with_installed_modules(
    modular: Path, modular_bundle: Path, tmp_path: Path, suffix: str
) -> None:
    where = own.install(modular, tmp_path, suffix)
    image = shutil.copy(modular / IMAGE, tmp_path / "vmlinuz")
    words = ["--image", image, "--modules", where, *GUEST, modular_bundle, *BENCH]
    done = vm(*words)
    result(done.stdout, release(modular))
    assert "the guest was ready after" in done.stderr


def test_a_kernel_that_takes_signed_modules_only(place: Path, tmp_path: Path) -> None:
    tree = own.signed_only()
    signer = Signer(str(tree / "certs/signing_key.pem"), tree / "certs/signing_key.x509")
    signed = own.bundle(tree, tmp_path / "signed.run", signer)
    result(vm("--kdir", tree, *GUEST, signed, *BENCH).stdout, release(tree))
    # As if somebody else had built it.
    without = own.bundle(tree, tmp_path / "without.run")
    done = vm("--kdir", tree, "--reach", "serial", *GUEST, without, *BENCH, check=False)
    assert done.returncode == 3
    assert "page-alloc-bench build --sign-key" in " ".join(done.stderr.split())


@pytest.mark.parametrize("reach", ["ssh", "disk", "serial"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("rdinit=/nowhere", "the kernel panicked: .*Unable to mount root fs"),
        ("mem=12M", "."),  # too little for anything
        ("rdinit=/bin/sh", "did not get to the guest's first programs within 30 s"),
    ],
)
def test_a_kernel_that_does_not_get_far_says_why(
    tree: Path, bundle: Path, reach: str, arguments: str, said: str
) -> None:
    started = time.monotonic()
    words = ["--boot-timeout", "30", "--cmdline", arguments, "--reach", reach, *GUEST]
    done = vm("--kdir", tree, *words, bundle, *BENCH, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(said, done.stderr.replace("\n", " ")), done.stderr
    assert "its console ends:\n" in done.stderr
    assert time.monotonic() - started < LIMIT_S * slowness()


def slowness() -> float:
    """How many processes share a CPU here."""
    return max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.mark.parametrize("reach", ["disk", "serial"])
def test_a_kernel_that_prints_nothing_says_so(
    tree: Path, bundle: Path, tmp_path: Path, reach: str
) -> None:
    image = own.that_stands_still(tree / IMAGE, tmp_path / "bzImage")
    modules = tmp_path / "modules"
    modules.mkdir()
    shutil.copy(tree / "modules.builtin", modules)
    words = ["--image", image, "--modules", modules, "--reach", reach, *GUEST, bundle, *BENCH]
    started = time.monotonic()
    done = vm(*words, check=False)
    assert done.returncode == 1
    assert "the kernel did not boot within 30 s: it wrote nothing to its console" in done.stderr
    assert time.monotonic() - started < LIMIT_S * slowness()


@pytest.mark.parametrize("reach", ["ssh", "disk", "serial"])
@pytest.mark.parametrize("seconds", [0.5, 2, 6, 15])
def test_kill_9_leaves_nothing_and_the_next_command_goes_on(
    tree: Path, bundle: Path, scratch: Path, reach: str, seconds: float
) -> None:
    argv = [*VM, "--kdir", str(tree), "--reach", reach, *GUEST, str(bundle), *BENCH]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        process.kill()
    end = time.monotonic() + 60
    while (left(str(scratch)) or list(scratch.iterdir())) and time.monotonic() < end:
        time.sleep(0.1)
    assert left(str(scratch)) == []
    assert list(scratch.iterdir()) == []
