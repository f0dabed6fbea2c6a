# SPDX-License-Identifier: GPL-2.0-only
"""Where kernels, guest roots and keys are kept between runs, safe for several processes at once.

Every entry is a directory that appears whole by one rename. A process that finds it does not lock,
fetch or check anything; a process that does not find it makes it under a lock of that entry.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def cache_dir() -> Path:
    """Return the directory of everything this project caches, made if it is missing."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification tells programs to ignore a relative path.
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    path = home / "page-alloc-bench"
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(*parts: str) -> str:
    """Return 12 hexadecimal digits that change when any of PARTS does."""
    whole = "\0".join(parts).encode()
    return hashlib.sha256(whole).hexdigest()[:12]


def has(kind: str, key: str) -> bool:
    """Return whether there is an entry KIND/KEY."""
    return (cache_dir() / kind / key).is_dir()


def entry(
    kind: str,
    key: str,
    build: Callable[[Path, Path], None],
    what: str,
    *,
    refresh: bool = False,
) -> Path:
    """Return the cached directory KIND/KEY, made by BUILD(temporary, final) if it is not there.

    BUILD fills the directory ``temporary``, which then becomes ``final``. What BUILD raises leaves
    no entry behind. WHAT names the entry in the progress line. With REFRESH it is made anew; the
    old one stays until the new one is whole, and who has its files open keeps them.
    """
    final = cache_dir() / kind / key
    if final.is_dir() and not refresh:
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with _lock(final.parent / f".{key}.lock", what):
        if final.is_dir() and not refresh:
            return final
        for stale in final.parent.glob(f".{key}.*/"):  # of a process that was killed
            shutil.rmtree(stale, ignore_errors=True)
        note(f"preparing {what} (once, kept in {final})")
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=final.parent))
        try:
            temporary.chmod(0o755)
            build(temporary, final)
            if final.is_dir():
                final.rename(final.with_name(f"{temporary.name}.old"))
            temporary.rename(final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(final.with_name(f"{temporary.name}.old"), ignore_errors=True)
    return final


def note(text: str) -> None:
    """Tell the person who waits what is going on, on stderr, if it is still there."""
    with suppress(OSError):
        print(f"page-alloc-bench: {text}", file=sys.stderr, flush=True)


@contextmanager
def _lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file PATH; the kernel drops it whatever happens to this process."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"waiting for another process that prepares {what}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
