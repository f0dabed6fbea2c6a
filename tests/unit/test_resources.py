# SPDX-License-Identifier: GPL-2.0-only
"""The files that are not Python are found in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from page_alloc_bench import resources


def test_a_checkout_has_them_at_its_top() -> None:
    top = Path(__file__).parent.parent.parent
    assert resources.kmod_dir() == top / "kmod"
    assert resources.templates_dir() == top / "templates"


def test_a_wheel_carries_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "PACKAGE", tmp_path)
    (tmp_path / "data/kmod").mkdir(parents=True)
    assert resources.kmod_dir() == tmp_path / "data/kmod"


def test_a_broken_installation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(resources, "CHECKOUT", tmp_path)
    with pytest.raises(resources.ResourceError, match=r"templates/ is neither .* nor "):
        resources.templates_dir()
