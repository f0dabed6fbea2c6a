# SPDX-License-Identifier: GPL-2.0-only
"""The build root sees what it is given and nothing else of this host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from page_alloc_bench.targets import build_root


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("mine", "mine/given", "hidden")}
    for path in found.values():
        path.mkdir()
        (path / "file").write_text("content\n")
    return found


def inside(script: str, places: dict[str, Path]) -> subprocess.CompletedProcess[str]:
    argv = build_root.command(
        ["sh", "-c", script], writable=[places["mine"]], readonly=[places["mine/given"]]
    )
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_it_compiles_and_keeps_its_hands_off(places: dict[str, Path]) -> None:
    mine, given, hidden = places.values()
    script = f"""
    cat {given}/file && cp {given}/file {mine}/copy && echo 'int main(void){{}}' >{mine}/x.c &&
    for cc in gcc clang aarch64-linux-gnu-gcc; do $cc -c -o {mine}/$cc.o {mine}/x.c; done
    touch {given}/new || echo given is read-only
    touch /usr/new || echo so is the root
    ls {hidden} || echo hidden is not there
    ls /sys/class/net 2>/dev/null; grep -c : /proc/net/dev
    exit 7
    """
    done = inside(script, places)
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines() == [
        "content", "given is read-only", "so is the root", "hidden is not there", "1",
    ]  # fmt: skip
    assert (mine / "copy").read_text() == "content\n"
    machines = {path.name: path.read_bytes()[18] for path in mine.glob("*.o")}
    assert machines == {"gcc.o": 62, "clang.o": 62, "aarch64-linux-gnu-gcc.o": 183}
    assert sorted(path.name for path in given.iterdir()) == ["file"]


def test_it_knows_what_it_has() -> None:
    assert build_root.find("clang") == "/usr/bin/clang"
    assert build_root.find("/usr/bin/ld.lld") == "/usr/bin/ld.lld"
    assert build_root.find("gcc-10") is None
