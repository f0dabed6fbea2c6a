# SPDX-License-Identifier: GPL-2.0-only
"""What a guest gets of a bundle, unpacked on the host, is what the bundle runs as there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from page_alloc_bench.targets.process import TargetError
from page_alloc_bench.targets.unpacked import unpack


def test_it_runs_with_the_python_of_the_bundle(embedding_bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "bench"
    unpacked = unpack(embedding_bundle, place, str(place))
    # Each file is where the guest will have it, and the archive that it came in is not.
    assert all(str(path) == name for name, path in unpacked.files.items())
    assert not any(name.endswith(".tar.gz") for name in unpacked.files)
    assert all(Path(word).exists() for word in unpacked.command if word.startswith("/"))
    # Compiled, so that the guest need not do it.
    sources = [name for name in unpacked.files if "/site-packages/" in name and name[-3:] == ".py"]
    compiled = [name for name in unpacked.files if name.endswith(".pyc")]
    assert len(compiled) == len(sources) > 0
    done = subprocess.run(
        [*unpacked.command, "one", "two"], capture_output=True, text=True, check=True, env={},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert said["argv"] == ["one", "two"]
    assert said["package"].startswith(str(place))
    assert said["flags"] == [1, 1, 1]


def test_a_bundle_without_python_is_refused(plain_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="brings no Python"):
        unpack(plain_bundle, tmp_path / "bench", "/root/bench")
