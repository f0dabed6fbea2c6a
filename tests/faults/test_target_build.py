# SPDX-License-Identifier: GPL-2.0-only
"""--build-on-target: the module compiled where it is to run, and nothing of it left there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_alloc_bench import resources
from page_alloc_bench.packager import manifest, module_info
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.runner.bundle_file import target_build
from page_alloc_bench.runner.errors import HostUnfitError
from page_alloc_bench.runner.kernel import host_facts
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest

# What a compiler of Debian 12 consists of; the guest's root is the same release as this host.
pytestmark = pytest.mark.seconds(15)
COMPILER = (
    "gcc-12", "cpp-12", "libgcc-12-dev", "binutils", "binutils-x86-64-linux-gnu", "libbinutils",
    "libctf0", "libctf-nobfd0", "libgprofng0", "libjansson4", "libisl23", "libmpc3", "libmpfr6",
    "libgmp10", "libelf1", "make", "zlib1g", "libzstd1",
)  # fmt: skip
BRIEF = "--iterations 1 --alloc-orders 0 --cpus 0 --quiet"


@pytest.fixture(scope="module")
def kernel() -> kernels.FetchedKernel:
    return kernels.fetch()


@pytest.fixture
def headers(kernel: kernels.FetchedKernel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The headers of a kernel, as if this host ran it."""
    monkeypatch.setattr(target_build, "kdir", lambda: str(kernel.kdir))
    return kernel.kdir


@contextlib.contextmanager
def unguarded(_: int) -> Iterator[None]:
    yield


def sources() -> dict[str, bytes]:
    return manifest.read_tree(resources.kmod_dir())


# The compilation, on this host.


def test_the_module_is_what_the_packager_makes(
    headers: Path, kernel: kernels.FetchedKernel, tmp_path: Path
) -> None:
    image, entry = target_build.build(sources(), str(tmp_path / "there"), unguarded)
    packed = build(BuildRequest(kernel.kdir, output=tmp_path / "bench.run")).modules[0]
    assert image == packed.data
    info = module_info.read(image)
    for name in ("release", "vermagic", "machine", "compiler", "srcversion"):
        assert entry[name] == getattr(info, name), name
    assert (entry["size"], entry["sha256"]) == (len(image), manifest.sha256(image))
    assert entry["config"] == host_facts.describe_config((headers / ".config").read_text())
    assert entry["built_on_target"] is True


def test_a_failure_quotes_the_compiler(headers: Path, tmp_path: Path) -> None:
    broken = {**sources(), "device.c": b"int x = surprise;\n"}
    with pytest.raises(HostUnfitError) as caught:
        target_build.build(broken, str(tmp_path / "there"), unguarded)
    assert "surprise" in str(caught.value)
    assert "kmod/device.c:1:" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "words"),
    [("make", "make is not installed"), ("gcc-12", "gcc-12 is not installed; install gcc-12")],
)
def test_a_missing_tool_is_named(
    headers: Path, missing: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else which(name))
    with pytest.raises(HostUnfitError, match=words):
        target_build.require()


def test_missing_headers_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(target_build, "kdir", lambda: str(tmp_path))
    with pytest.raises(HostUnfitError, match=f"install linux-headers-{os.uname().release} on"):
        target_build.require()
    (tmp_path / "Makefile").touch()
    with pytest.raises(HostUnfitError, match="modules_prepare"):
        target_build.require()


@pytest.mark.parametrize(
    ("text", "installed", "words"),
    [
        ("gcc (GCC) 14.2.0", {"gcc", "make"}, []),
        ("gcc-14 (Debian 14.2.0-19) 14.2.0", {"gcc-14", "make"}, ["CC=gcc-14"]),
        ("Debian clang version 19.1.7 (3)", {"clang", "gcc", "make"}, ["LLVM=1"]),
        ("Debian clang version 19.1.7 (3)", {"clang-19", "gcc", "make"}, ["LLVM=-19"]),
    ],
)
def test_the_compiler_is_the_kernels(
    text: str,
    installed: set[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("Makefile", "Module.symvers", "include/generated/autoconf.h"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "include/config").mkdir()
    config = tmp_path / "include/config/auto.conf"
    config.write_text(f'CONFIG_CC_VERSION_TEXT="{text}"\n')
    monkeypatch.setattr(target_build, "kdir", lambda: str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: name if name in installed else None)
    assert target_build.require() == words
    installed -= {"gcc", "gcc-14", "clang", "clang-19"}
    with pytest.raises(HostUnfitError, match=r"is not installed; install (gcc|clang-19 lld-19)"):
        target_build.require()


# All of it, in a guest.


def give_compiler(guest: Guest, scratch: Path) -> None:
    """Put this host's compiler and the headers of the guest's kernel into the guest."""
    listed = subprocess.run(["dpkg", "-L", *COMPILER], capture_output=True, text=True, check=True)
    files = [name for name in listed.stdout.splitlines() if Path(name).is_file()]
    files = [name for name in dict.fromkeys(files) if "/share/" not in name]
    top = guest.kernel.kdir.parents[2]
    files += [str(top / part) for part in ("usr/src", "usr/lib")]
    archive = scratch / "compiler.tar"
    command = ["tar", "-cPf", str(archive), "--files-from=-"]
    subprocess.run(command, input="\n".join(files), text=True, check=True)
    guest.copy_to(archive, "/compiler.tar")
    modules = f"/lib/modules/{guest.kernel.release}"
    guest.run(f"tar -xPf /compiler.tar && rm /compiler.tar && mkdir -p {modules}")
    guest.run(["ln", "-s", str(guest.kernel.kdir), f"{modules}/build"])


def test_in_a_guest_with_headers_and_a_compiler(
    kernel: kernels.FetchedKernel, tmp_path: Path
) -> None:
    other = kernels.fetch("5.10")
    bundle = tmp_path / "bench.run"
    build(BuildRequest(other.kdir, cc=other.kernel.cc, output=bundle))
    with Guest(kernel=kernel, cpus=2, nodes=1, memory="1G") as guest:
        guest.copy_to(bundle, "/root/bench.run")

        def run(options: str) -> subprocess.CompletedProcess[str]:
            return guest.run(f"/root/bench.run {BRIEF} {options}", check=False, timeout=900)

        def left() -> str:
            places = "/dev/shm /tmp /var/tmp /run"
            return guest.run(f"find {places} -name 'page-alloc*'; ! lsmod | grep page_alloc").stdout

        refused = run("")
        assert refused.returncode == 3
        assert f"this host runs {kernel.release} (x86_64)" in refused.stderr
        assert f"modules for {other.release} (x86_64)" in refused.stderr
        headless = run("--build-on-target")
        assert headless.returncode == 3
        assert f"install linux-headers-{kernel.release}" in headless.stderr

        give_compiler(guest, tmp_path)
        done = run("--build-on-target")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["run"]["complete"] is True
        assert result["idle_available_bytes_order0"]
        assert left() == ""
        packed, built = result["run"]["bundle"]["modules"]
        assert (packed["release"], packed.get("built_on_target")) == (other.release, None)
        assert (built["release"], built["built_on_target"]) == (kernel.release, True)

        guest.run("mv /usr/bin/gcc-12 /usr/bin/gcc-away")
        gone = run("--build-on-target")
        assert gone.returncode == 3
        assert "gcc-12 is not installed" in gone.stderr
        guest.run("mv /usr/bin/gcc-away /usr/bin/gcc-12")

        killed = guest.popen(["/root/bench.run", "--build-on-target"], stderr=subprocess.DEVNULL)
        guest.run("until pgrep cc1; do sleep 0.1; done; pkill -KILL -f -o bench.run", timeout=300)
        killed.wait(60)
        guest.run("for i in $(seq 100); do pgrep 'make|cc1|pab-watchdog' || exit 0; sleep 0.2; "
                  "done; exit 1", timeout=300)  # fmt: skip
        assert left() == ""
