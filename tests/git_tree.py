# SPDX-License-Identifier: GPL-2.0-only
"""Small git repositories, made on the spot."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path


def git(directory: Path, *words: str, **environment: str) -> str:
    """Run git in DIRECTORY as a user of its own, and return what it says."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(directory), "-c", "user.name=A", "-c", "user.email=a@b", *words],
        env={**own, "GIT_CONFIG_GLOBAL": os.devnull, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def repository(path: Path) -> Path:
    """Make an empty repository in PATH."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    return path


def commit(path: Path, subject: str, **files: str | None) -> str:
    """Commit FILES, name → text, None to remove it; an _ in a name is a dot. Return its hash."""
    for name, text in files.items():
        file = path / name.replace("__", "/").replace("_", ".")
        if text is None:
            file.unlink()
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    git(path, "add", "-A")
    git(path, "commit", "-q", "--allow-empty", "-m", subject)
    return git(path, "rev-parse", "HEAD")


def state(path: Path) -> str:
    """Return a digest of everything below PATH: names, modes, times and contents, .git too."""
    whole = hashlib.sha256()
    for file in sorted([path, *path.rglob("*")]):
        status = file.lstat()
        whole.update(f"{file.relative_to(path)} {status.st_mode} {status.st_mtime_ns}\n".encode())
        if file.is_symlink():
            whole.update(os.fsencode(file.readlink()))
        elif file.is_file():
            whole.update(file.read_bytes())
    return whole.hexdigest()
