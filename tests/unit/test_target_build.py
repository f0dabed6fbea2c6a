# SPDX-License-Identifier: GPL-2.0-only
"""Where a bundle compiles its module on the target, and what it makes of the headers there."""

from __future__ import annotations

from pathlib import Path

import pytest

from page_alloc_bench.runner.bundle_file import target_build


@pytest.mark.parametrize("name", ["good", "good.d-1+2@3"])
def test_it_builds_in_its_own_scratch_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert Path(target_build.place(str(tmp_path / name))).parent == tmp_path / name


@pytest.mark.parametrize("name", ["a,b", "a=b", "a b", "a:b", "a#b", "link"])
def test_it_builds_elsewhere_where_make_cannot(tmp_path: Path, name: str) -> None:
    if name == "link":
        (tmp_path / "x=y").mkdir()
        (tmp_path / name).symlink_to("x=y")
    else:
        (tmp_path / name).mkdir()
    place = Path(target_build.place(str(tmp_path / name)))
    assert tmp_path not in place.parents


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (None, False),
        ("", False),
        ("0x1\tmine\tdrivers/x\tEXPORT_SYMBOL\t\n", False),
        ("0x1\tpanic\tvmlinux\tEXPORT_SYMBOL\t\n", True),
    ],
)
def test_symbols_are_checked_where_the_tree_lists_the_kernels(
    tmp_path: Path, text: str | None, known: bool
) -> None:
    if text is not None:
        (tmp_path / "Module.symvers").write_text(text)
    assert target_build.knows_symbols(str(tmp_path)) is known
