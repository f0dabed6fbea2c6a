# SPDX-License-Identifier: GPL-2.0-only
"""The matrix's table, and how long its rows take."""

from __future__ import annotations

import datetime
import re

import pytest
from click.testing import CliRunner

import readme
from matrix import table
from matrix.cost import row_seconds
from matrix.table import Row
from page_alloc_bench import cli
from page_alloc_bench.targets import build_root, kernels, root

ROW = Row(
    "6.1", "amd64", "bookworm", "the default", "6.1.0-1", "GCC 12", "2", "3.11.2", "passed", 9
)


def test_the_table_replaces_what_is_between_the_markers_only() -> None:
    text = table.in_markdown([ROW], datetime.date(2026, 1, 2), "QEMU 7")
    assert "Run on 2026-01-02 with page-alloc-bench " in text
    assert text.splitlines()[-1] == (
        "| 6.1 | 6.1.0-1 | amd64 | GCC 12 | 2 | bookworm | 3.11.2 | the default |"
    )
    begin, end = readme.MATRIX.begin, readme.MATRIX.end
    before = f"before\n{begin}\nold\nolder\n{end}\nafter\n"
    assert readme.MATRIX.update(before, text) == f"before\n{begin}\n{text}\n{end}\nafter\n"
    with pytest.raises(ValueError, match="0 pairs of the markers"):
        readme.MATRIX.update("no markers", text)


@pytest.mark.parametrize("place", readme.PLACES, ids=lambda place: place.name)
def test_the_readme_has_a_place_for_each_table(place: readme.Place) -> None:
    text = place.path.read_text()
    assert f"{place.begin}\nnew\n{place.end}" in place.update(text, "new")


def test_compilers_are_named_in_short() -> None:
    assert table.short("GCC: (Debian 12.2.0-14+deb12u1) 12.2.0") == "gcc 12.2.0"
    assert table.short("Debian clang version 19.1.7 (3+b1)") == "clang 19.1.7"
    assert table.short("another one") == "another one"


def test_columns_are_aligned() -> None:
    lines = table.in_columns([ROW, Row("7.3", "arm64", "busybox", "")]).splitlines()
    assert [line.index(word) for line, word in zip(lines, ("arch", "amd64", "arm64"))] == [17] * 3
    assert lines[1].endswith("passed   9")


def test_what_is_cached_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    there: set[str] = set()
    monkeypatch.setattr(kernels, "cached", lambda kernel: kernel.name in there)
    monkeypatch.setattr(root, "cached", lambda name: name in there)
    monkeypatch.setattr(build_root, "cached", lambda: "build" in there)
    first, second = kernels.lookup("6.1"), kernels.lookup("7.3")
    assert row_seconds(first) == 60 + 30 + 60
    assert row_seconds(second) == 60 + 30 + 60 + 90
    assert row_seconds(kernels.lookup("6.12-nonuma")) == 60 + 420 + 90
    there.update(("6.1", "bookworm", "build"))
    assert row_seconds(first) == 60
    assert row_seconds(second) == 60 + 30 + 60


def test_the_list_of_kernels_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "fetch", None)
    done = CliRunner().invoke(cli.main, ["kernels", "--list"])
    assert done.exit_code == 0
    names = [line.split()[0] for line in done.output.splitlines()[1:]]
    assert names == [kernel.name for kernel in kernels.KERNELS]
    done = CliRunner().invoke(cli.main, ["kernels", "--list", "7.3", "6.1-rt"])
    assert len(done.output.splitlines()) == 3
    assert CliRunner().invoke(cli.main, ["kernels", "9.9"]).exit_code == 2


KMOD = readme.TESTS.parent / "kmod"
VERSIONS = re.compile(
    r"LINUX_VERSION_CODE|KERNEL_VERSION|RHEL_RELEASE|linux/version\.h|PAB_HAVE_\w+"
)


def test_only_compat_knows_versions() -> None:
    for path in sorted(KMOD.glob("*.[ch]")):
        found = set(VERSIONS.findall(path.read_text()))
        if path.name != "compat.h":
            # What compat.h has found out may be used, what it stands on may not.
            assert not {word for word in found if not word.startswith("PAB_HAVE_")}, path


def undocumented(text: str) -> list[str]:
    """Return the version conditions of TEXT whose comment names no upstream commit and version."""
    found = []
    comment = ""
    for part in re.split(r"(/\*.*?\*/)", text, flags=re.DOTALL):
        if part.startswith("/*"):
            comment = part
            continue
        for line in part.splitlines():
            shim = re.match(r"#\s*(?:if|elif|define PAB_HAVE_)", line) and VERSIONS.search(line)
            if shim and not re.search(r"\b[0-9a-f]{12}\b.*\bv\d+\.\d+\b", comment, re.DOTALL):
                found.append(line)
    return found


def test_every_shim_names_the_commit_and_the_version() -> None:
    assert undocumented((KMOD / "compat.h").read_text()) == []
    shim = "#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)\n"
    assert undocumented(f'/* since 23baf831a32c ("mm: x", v6.4) */\n{shim}') == []
    assert undocumented(f"/* for older kernels */\n{shim}") == [shim.strip()]
    assert undocumented(f"/* 23baf831a32c */\n{shim}") == [shim.strip()]
