# SPDX-License-Identifier: GPL-2.0-only
"""A damaged bundle is refused, in one line, wherever the damage is."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from bundle_maker import start
from bundle_runs import SHELLS, one_line, python_only_path, report
from page_alloc_bench.runner.bundle_file.archive import Archive, ArchiveError


@pytest.fixture(scope="module")
def bench(plain_bundle: Path) -> Path:
    return plain_bundle


def flipped(bench: Path, copy: Path, position: int) -> Path:
    data = bytearray(bench.read_bytes())
    data[position] ^= 0x01
    copy.write_bytes(data)
    copy.chmod(0o755)
    return copy


def test_a_flipped_byte_is_found_wherever_it_is(bench: Path, tmp_path: Path) -> None:
    size = bench.stat().st_size
    stub = Archive(bench).manifest()["stub"]["size"]
    with zipfile.ZipFile(bench) as archive:
        members = [info.header_offset + 30 + len(info.filename) for info in archive.infolist()]
    missed = []
    for position in (*range(0, stub, 997), *members[::3], *range(size - 50, size, 3)):
        copy = flipped(bench, tmp_path / "bench.run", position)
        try:
            if not Archive(copy).problems():
                missed.append(position)
        except ArchiveError:
            continue
    assert missed == []


@pytest.mark.parametrize("shell", SHELLS)
def test_check_fails_wherever_a_byte_is_flipped(
    shell: list[str], bench: Path, tmp_path: Path, scratch: Path
) -> None:
    """Each shell has a share of the text: it is the same program for all."""
    size = bench.stat().st_size
    stub = Archive(bench).manifest()["stub"]["size"]
    text_end = len(bench.read_bytes()[:stub].rstrip(b"\n"))
    number, every = [each.values[0] for each in SHELLS].index(shell), 499 * len(SHELLS)
    positions = [*range(499 * number, text_end, every), (text_end + 1, stub - 1)[number % 2]]
    # From here on it is Python that looks, whichever shell has started it.
    positions += [(stub, stub + 1, (size + stub) // 2, size - 1)[number]]
    for position in positions:
        copy = flipped(bench, tmp_path / "bench.run", position)
        finished = start(
            [*shell, str(copy), "--check"], env={"PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}
        )
        assert finished.returncode != 0, position
        assert finished.stdout == "", position
        assert list(scratch.iterdir()) == []


def test_altered_zip_is_refused_in_one_line(bench: Path, tmp_path: Path) -> None:
    copy = flipped(bench, tmp_path / "bench.run", bench.stat().st_size - 5000)
    finished = start([str(copy)])
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "damaged" in one_line(finished.stderr)


def test_altered_stub_is_refused_in_one_line(bench: Path, tmp_path: Path) -> None:
    position = bench.read_bytes().index(b"/usr/local/bin/python3")
    finished = start([str(flipped(bench, tmp_path / "bench.run", position))])
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "damaged" in one_line(finished.stderr)


@pytest.mark.parametrize("shell", SHELLS)
def test_truncated_file_is_refused(shell: list[str], bench: Path, tmp_path: Path) -> None:
    data = bench.read_bytes()
    copy = tmp_path / "bench.run"
    checked = data.index(b"\npayload_sha256")
    for length in (checked, checked + 100, 4096, 4097, 10000, len(data) // 2, len(data) - 1):
        copy.write_bytes(data[:length])
        finished = start([*shell, str(copy)])
        assert (finished.returncode, finished.stdout) == (1, ""), length
        assert f"{length} bytes instead of {len(data)}" in one_line(finished.stderr)
    # From where the shell has read the two lines that speak for a file cut off behind them.
    for length in range(data.index(b"# SPDX"), checked, 100):
        copy.write_bytes(data[:length])
        finished = start([*shell, str(copy)])
        assert (finished.returncode, finished.stdout) == (1, ""), length
        assert "is damaged" in one_line(finished.stderr)


def test_trailing_rubbish_is_refused(bench: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bench.run"
    copy.write_bytes(bench.read_bytes() + b"x")
    finished = start(["sh", str(copy)])
    assert finished.returncode == 1
    assert "damaged" in one_line(finished.stderr)


def test_piped_into_a_shell_says_what_to_do(bench: Path, tmp_path: Path) -> None:
    with bench.open("rb") as file:
        finished = start(["sh"], cwd=tmp_path, stdin=file)
    assert finished.returncode == 1
    assert "save the bundle as a file" in one_line(finished.stderr)


def test_without_sha256sum_it_still_runs(bench: Path, tmp_path: Path) -> None:
    path = python_only_path(
        tmp_path / "bin",
        wc=shutil.which("wc") or "",
        env=shutil.which("env") or "",
        python3=sys.executable,
    )
    assert report(start(["/bin/sh", str(bench), "x"], env={"PATH": path}))["argv"] == ["x"]
