# SPDX-License-Identifier: GPL-2.0-only
"""A cache or a scratch directory that is small, full, read-only or has no room for more files.

Each is a file system of its own, mounted where no other process sees it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

CLI = "-m page_alloc_bench.cli"


def on_disk(
    disk: Path, options: str, script: str, *, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a shell script where DISK is a tmpfs with OPTIONS; $python runs what is tested."""
    disk.mkdir(exist_ok=True)
    line = f"set -e; mount -t tmpfs -o {options} tmpfs {disk}; python={sys.executable}\n{script}"
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", line],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize(
    ("size", "command"),
    [
        (8, "build --kernel 6.1 -o /dev/null"),
        (20, "kernels 6.1"),
        (100, "build --kernel 6.1 -o /dev/null"),
        (300, "kernels 6.1"),
    ],
)
def test_a_small_cache_is_told_before_anything_is_fetched(
    tmp_path: Path, size: int, command: str
) -> None:
    started = time.monotonic()
    done = on_disk(
        tmp_path / "cache",
        f"size={size}m",
        f"XDG_CACHE_HOME={tmp_path}/cache $python {CLI} {command}",
    )
    assert done.returncode == 1
    there = re.search(r"kernel 6\.1 .*needs (\d+) MiB in (\S+), which has (\d+): ", done.stderr)
    assert there, done.stderr
    assert int(there[1]) > size >= int(there[3]) >= size - 1
    assert there[2] == f"{tmp_path}/cache/page-alloc-bench/kernels"
    assert "XDG_CACHE_HOME" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 30


def test_a_cache_without_inodes_is_told(tmp_path: Path) -> None:
    done = on_disk(
        tmp_path / "cache",
        "size=4g,nr_inodes=500",
        f"XDG_CACHE_HOME={tmp_path}/cache $python {CLI} kernels 6.1",
    )
    assert done.returncode == 1
    assert re.search(r"needs room for \d+ files in .*, which has it for 49\d", done.stderr)


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("", "page-alloc-bench cannot be made: Read-only file system"),
        ("mkdir -p $d/page-alloc-bench; ", "kernels cannot be made: Read-only file system"),
        ("mkdir -p $d/page-alloc-bench/kernels; ", "kernels cannot be written: Read-only"),
    ],
)
def test_a_read_only_cache_is_told(tmp_path: Path, before: str, why: str) -> None:
    disk = tmp_path / "cache"
    done = on_disk(
        disk,
        "size=2g",
        f"d={disk}; {before} mount -o remount,ro {disk}\n"
        f"XDG_CACHE_HOME={disk} $python {CLI} kernels 6.1",
    )
    assert done.returncode == 1
    assert why in done.stderr
    assert "XDG_CACHE_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_in_a_read_only_cache_can_be_used(tmp_path: Path) -> None:
    disk = tmp_path / "cache"
    code = (
        "from page_alloc_bench.targets import cache\n"
        "print(cache.entry('kind', 'key', lambda *_: 1/0, 'a test'), cache.has('kind', 'key'))"
    )
    done = on_disk(
        disk,
        "size=8m",
        f"mkdir -p {disk}/page-alloc-bench/kind/key; mount -o remount,ro {disk}\n"
        f'XDG_CACHE_HOME={disk} $python -c "{code}"',
    )
    assert (done.returncode, done.stdout) == (0, f"{disk}/page-alloc-bench/kind/key True\n")


def test_a_home_that_is_meant_not_to_be_there_is_not_made(tmp_path: Path) -> None:
    home = tmp_path / "nonexistent"
    done = subprocess.run(
        [sys.executable, *CLI.split(), "kernels", "6.1"],
        env={"HOME": str(home), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"the home directory {home} does not exist: set XDG_CACHE_HOME" in done.stderr
    assert not home.exists()


# What fills the disk though there was room for it when it was asked: a line of Python whose
# `t` is the directory that is being filled, and `run` starts a program.
FILLERS = {
    "python": "(t / 'x').write_bytes(bytes(9 << 20))",
    "cp": "run(['cp', '/big', t / 'x'])",
    "dpkg-deb": "run(['dpkg-deb', '-x', '/big.deb', t])",
    "tar": "run(['tar', '-C', t, '-xf', '/big.tar'])",
    "xz": "run(['sh', '-c', f'xz -0 </big >{t}/x'])",
    "mke2fs": "run(['/sbin/mke2fs', '-q', '-d', '/tree', t / 'x', '64M'])",
    "gcc": "run(['sh', '-c', f'cd {t} && echo \"char x[9 << 20] = {{1}};\" | gcc -xc -c -o x -'])",
}


@pytest.mark.parametrize("filler", FILLERS)
def test_a_disk_that_is_full_meanwhile_is_called_full(tmp_path: Path, filler: str) -> None:
    disk, made = tmp_path / "cache", tmp_path / "made"
    (made / "tree/DEBIAN").mkdir(parents=True)
    (made / "tree/DEBIAN/control").write_text(
        "Package: big\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\n"
        "Description: big\n"
    )
    code = made / "fill.py"
    (made / "tree/file").write_bytes(bytes(range(256)) * (9 << 12))
    # Random, so that it cannot be compressed.
    (made / "big").write_bytes(os.urandom(9 << 20))
    subprocess.run(["tar", "-C", made, "-cf", made / "big.tar", "big"], check=True)
    subprocess.run(["dpkg-deb", "-Znone", "-b", made / "tree", made / "big.deb"], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    line = FILLERS[filler]
    for name in ("/big.tar", "/big.deb", "/big", "/tree"):
        line = re.sub(rf"{name}(?![.\w])", f"{made}{name}", line)
    code.write_text(
        "from pathlib import Path\n"
        "from page_alloc_bench.targets import cache\n"
        "from page_alloc_bench.targets.process import TargetError, run as start\n"
        "run = lambda words: start([str(word) for word in words])\n"
        f"def build(t, final):\n    {line}\n"
        "try:\n"
        "    cache.entry('kind', 'key', build, 'a test', room=cache.Room(1, 1))\n"
        "except TargetError as error:\n"
        "    print(error)\n"
    )
    done = on_disk(disk, "size=5m", f"XDG_CACHE_HOME={disk} $python {code}; ls -A {disk}/*/kind")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"no space left in {disk}/page-alloc-bench/kind for a test: make room there, or set XDG_"
    ), done.stdout
    # Nothing of the attempt stays but the lock.
    assert done.stdout.splitlines()[-1] == ".key.lock"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("size=8m", r"building needs \d+ MiB in \S+, which has [78]"),
        ("size=900m,nr_inodes=20", r"building needs room for \d+ files in"),
    ],
)
def test_a_small_scratch_directory_is_told_before_it_is_filled(
    tmp_path: Path, options: str, why: str
) -> None:
    disk = tmp_path / "scratch"
    done = on_disk(
        disk, options, f"TMPDIR={disk} $python {CLI} build --kdir {tmp_path} -o {tmp_path}/out"
    )
    assert done.returncode == 1
    assert re.search(why, done.stderr), done.stderr
    assert "set TMPDIR" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", ["size=8m", "size=4g,nr_inodes=10"])
def test_a_guest_is_not_booted_where_it_has_no_room(tmp_path: Path, options: str) -> None:
    disk = tmp_path / "scratch"
    code = (
        "from page_alloc_bench.targets.qemu import Qemu\n"
        "from page_alloc_bench.targets.process import TargetError\n"
        "try:\n    Qemu()\nexcept TargetError as error:\n    print(error)\n"
    )
    done = on_disk(disk, options, f'TMPDIR={disk} $python -c "{code}"; ls -A {disk}')
    assert re.fullmatch(r"a guest needs .*: make room there, or set TMPDIR .*\n", done.stdout)
