# SPDX-License-Identifier: GPL-2.0-only
"""Equal inputs give equal bytes, whoever builds, where, when, and from the checkout or a wheel."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import misleading
from hidden_checkout import CHECKOUT, builds_the_same
from page_alloc_bench.packager import wheels
from page_alloc_bench.packager.build import EMBEDDED, BuildRequest, build
from page_alloc_bench.targets import kernels

# Words that stand nowhere by chance.
HOST, USER, ELSEWHERE = "zebra-host", "okapi-user", "gnu-directory"
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that every user can get to, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix=f"{ELSEWHERE}.", dir="/var/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def copy_headers(kernel: kernels.FetchedKernel, target: Path) -> Path:
    """Copy the headers of a kernel to another place; return the tree there."""
    top = kernel.kdir.parents[2]
    for part in ("src", "lib"):
        shutil.copytree(top / "usr" / part, target / "usr" / part, symlinks=True)
    kdir = target / kernel.kdir.relative_to(top)
    for path in (kdir / "Makefile", kdir / ".kernelvariables"):
        path.write_text(path.read_text().replace(str(top), str(target)))
    for link in kdir.iterdir():
        if link.is_symlink() and str(link.readlink()).startswith(str(top)):
            moved = str(link.readlink()).replace(str(top), str(target))
            link.unlink()
            link.symlink_to(moved)
    return kdir


def opened(*names: str) -> str:
    """Return shell commands that let everybody reach these files, in their mount namespace."""
    closed = {
        directory
        for name in names
        for directory in Path(os.path.realpath(name)).parents
        if not directory.stat().st_mode & 0o001
    }
    return "\n".join(
        f"""
        mount -t tmpfs tmpfs /mnt && mkdir -m 755 /mnt/upper /mnt/work || exit 77
        mount -t overlay -o lowerdir='{directory}',upperdir=/mnt/upper,workdir=/mnt/work \\
            overlay '{directory}' || exit 77
        """
        for directory in sorted(closed)[:1]  # nobody closes a directory inside a closed one
    )


def everything_in(bundle: Path) -> bytes:
    """Return all of a bundle's bytes, and what they are when unpacked."""
    found = [bundle.read_bytes()]
    with zipfile.ZipFile(bundle) as archive:
        found += [archive.read(name) for name in archive.namelist()]
        described = json.loads(archive.read("manifest.json"))
    for python in described.get("interpreters", []):
        start = python["offset"]
        packed = found[0][start : start + python["size"]].rstrip(b"\0")
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed + b"\0" * 8))) as tar:
            for member in tar.getmembers():
                found.append(repr(member.get_info()).encode())
                file = tar.extractfile(member)
                data = file.read() if file else b""
                found.append(data)
                if member.name.endswith(".zip"):
                    with zipfile.ZipFile(io.BytesIO(data)) as library:
                        found += [library.read(name) for name in library.namelist()]
    return b"\0".join(found)


def copy_checkout(target: Path) -> None:
    """Copy of the checkout what a build reads."""
    for part in ("bundle", "kmod", "templates", "LICENSES"):
        shutil.copytree(CHECKOUT / part, target / part,
                        ignore=shutil.ignore_patterns("__pycache__", "*.o", "*.ko"))  # fmt: skip


def build_as_nobody(place: Path, checkout: Path, home: Path, kdir: Path) -> None:
    """Build in a place as another user on another host, whose settings are other ones too."""
    command = [sys.executable, "-m", "page_alloc_bench.cli", "build", "-q", "-o", "bench.run"]
    command += ["--sbom", "bench.cdx.json", "--kdir", str(kdir)]
    script = f"""
        {opened(sys.executable, sys.base_prefix)}
        umask 077
        hostname {HOST}
        exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps=-all "$@"
    """
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(checkout / "bundle"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "7",
        "HOME": str(home),
        "USER": USER,
        "LOGNAME": USER,
        "HOSTNAME": HOST,
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "de",
        "TMPDIR": str(place),
    }
    subprocess.run(
        ["unshare", "--uts", "--mount", "sh", "-c", script, "sh", *command],
        cwd=place,
        env=environment,
        check=True,
        timeout=300,
    )


@as_root
def test_two_users_in_two_places_get_the_same_bytes(open_place: Path, bundle: Path) -> None:
    kernel = kernels.fetch()
    here, there = bundle.parent, open_place / "some where else"
    there.mkdir()
    checkout, home = open_place / "checkout", open_place / "home"
    copy_checkout(checkout)
    kdir = copy_headers(kernel, open_place / "kernel")
    shutil.copytree(wheels.cache_dir(), home / ".cache/page-alloc-bench/wheels")
    for top in (there, home):
        for path in (top, *top.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    build_as_nobody(there, checkout, home, kdir)
    assert (there / "bench.run").stat().st_uid == NOBODY
    assert (there / "bench.run").stat().st_mode & 0o777 == 0o700
    assert (here / "bench.run").stat().st_mode & 0o777 == 0o755
    for name in ("bench.run", "bench.cdx.json"):
        assert (here / name).read_bytes() == (there / name).read_bytes(), name
    secrets = [
        HOST, USER, ELSEWHERE, os.uname().nodename, str(here), str(CHECKOUT), str(Path.home()),
        str(kernel.kdir), sys.prefix,
    ]  # fmt: skip
    content = everything_in(there / "bench.run") + (there / "bench.cdx.json").read_bytes()
    told = [word for word in secrets if len(word) > 5 and word.encode() in content]
    assert told == []


# From a wheel.


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """This project's wheel, unpacked. tests/matrix installs it with what it asks for."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*command, str(CHECKOUT)], check=True, timeout=300)
    place = tmp_path / "unpacked"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(place)
    return place


def test_two_builds_agree_to_the_byte(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in misleading.FOR_MAKE.items():
        monkeypatch.setenv(name, value)
    another = tmp_path / "another place"
    another.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(another))
    request = BuildRequest(kernels.fetch().kdir, output=another / "bench.run", python=EMBEDDED)
    assert bundle.read_bytes() == build(request).path.read_bytes()


@as_root
def test_a_wheel_needs_no_checkout(unpacked: Path, bundle: Path, tmp_path: Path) -> None:
    program = f"'{sys.executable}' -m page_alloc_bench"
    hidden = ("bundle", "kmod", "templates")
    builds_the_same(program, bundle, tmp_path, hidden, PYTHONPATH=str(unpacked))
