# SPDX-License-Identifier: GPL-2.0-only
"""Built kernels in the cache, those that do not build too.

revisions/KEY/build.json    the tree, the release, the compiler; or why it does not build
              image, config, System.map, Module.symvers, modules/, log
revision-bundles/KEY-OURS/bundle.run    of this version of ours
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page_alloc_bench.campaign.revisions import Commit
from page_alloc_bench.targets import kernel_bundle

KIND, BUNDLES, CONFIGS = "revisions", "revision-bundles", "revision-configs"
ABOUT, LOG, IMAGE, CONFIG, BUNDLE = "build.json", "log", "image", "config", kernel_bundle.BUNDLE


@dataclass(frozen=True)
class Built:
    """A revision as a kernel that can be booted. arch: Debian's name of it."""

    commit: Commit
    arch: str
    release: str
    directory: Path
    bundle: Path

    @property
    def label(self) -> str:
        """Return what people call it."""
        return self.commit.label

    @property
    def image(self) -> Path:
        """Return what is booted."""
        return self.directory / IMAGE

    @property
    def config(self) -> str:
        """Return the configuration that it was built with."""
        return (self.directory / CONFIG).read_text()


@dataclass(frozen=True)
class NotBuilt:
    """A revision that does not build. reason: in the compiler's words. log: all that make said."""

    commit: Commit
    reason: str
    log: Path


def key(tree: str, *parts: str) -> str:
    """Return the name of an entry: a git tree's hash, and a digest of all PARTS."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"{tree[:12]}-{digest[:16]}"


def bundle_key(of_kernel: str) -> str:
    """Return the name of the entry of a bundle that this version of ours has built."""
    return f"{of_kernel}-{kernel_bundle.of_ours()}"


def about(directory: Path) -> dict[str, Any]:
    """Return what an entry says of itself."""
    found: dict[str, Any] = json.loads((directory / ABOUT).read_text())
    return found


def write_about(directory: Path, content: dict[str, Any]) -> None:
    """Say in an entry what it is."""
    (directory / ABOUT).write_text(json.dumps(content, indent=1) + "\n")


def failed(directory: Path) -> str:
    """Return why the kernel of an entry does not build, or ""."""
    return str(about(directory).get("failed", ""))
