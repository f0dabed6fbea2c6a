# SPDX-License-Identifier: GPL-2.0-only
"""Where kernels, guest roots and keys are kept between runs, safe for several processes at once.

Every entry is a directory that appears whole by one rename. A process that finds it does not lock,
fetch or check anything; a process that does not find it makes it under a lock of that entry.
"""

from __future__ import annotations

import fcntl
import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from page_alloc_bench import resources, space
from page_alloc_bench.space import Room
from page_alloc_bench.targets import namespace
from page_alloc_bench.targets.process import TargetError

_ELSEWHERE = "set XDG_CACHE_HOME to a directory where there is room, and that you may write to"
_HOW_TO_GET_ROOM = f"make room there, or {_ELSEWHERE}"


_SMALL = Room(16, 64)


def cache_dir() -> Path:
    """Return the directory of everything this project caches, made if it is missing.

    Raises TargetError where it cannot be.
    """
    path = resources.cache_dir()
    home = resources.absent_home()
    if home:
        raise TargetError(f"the home directory {home} does not exist: {_ELSEWHERE}")
    _make_directory(path)
    return path


def digest(*parts: str) -> str:
    """Return 12 hexadecimal digits that change when any of PARTS does."""
    whole = "\0".join(parts).encode()
    return hashlib.sha256(whole).hexdigest()[:12]


def has(kind: str, key: str) -> bool:
    """Return whether there is an entry KIND/KEY."""
    return (resources.cache_dir() / kind / key).is_dir()


def entry(
    kind: str,
    key: str,
    build: Callable[[Path, Path], None],
    what: str,
    *,
    room: Room = _SMALL,
    refresh: bool = False,
) -> Path:
    """Return the cached directory KIND/KEY, made by BUILD(temporary, final) if it is not there.

    BUILD fills the directory ``temporary``, which then becomes ``final``. What BUILD raises leaves
    no entry behind. WHAT names the entry in the progress line. ROOM is what is needed while it is
    made. With REFRESH it is made again; the old one stays until the new one is whole, and who has
    its files open keeps them.

    Raises TargetError where the cache cannot be written, before BUILD where it has not the ROOM.
    """
    final = resources.cache_dir() / kind / key
    if final.is_dir() and not refresh:
        return final
    cache_dir()
    _make_directory(final.parent)
    with lock(final.parent / f".{key}.lock", what):
        if final.is_dir() and not refresh:
            return final
        for stale in final.parent.glob(f".{key}.*/"):  # of a process that was killed
            namespace.remove(stale)
        lacking = space.shortage(final.parent, room)
        if lacking:
            raise TargetError(f"{what} {lacking}: {_HOW_TO_GET_ROOM}")
        note(f"preparing {what} (once, kept in {final})")
        _make(final, build, what)
    return final


def _make(final: Path, build: Callable[[Path, Path], None], what: str) -> None:
    """Make FINAL by BUILD under another name; explain a disk that is full by then."""
    temporary, old = None, None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
        temporary.chmod(0o755)
        build(temporary, final)
        old = final.with_name(f"{temporary.name}.old")
        if final.is_dir():
            final.rename(old)
        temporary.rename(final)
    except (OSError, TargetError) as error:
        if space.ran_out(error, [final.parent]):
            places = " or ".join(map(str, space.suspects(final.parent)))
            raise TargetError(
                f"no space left in {places} for {what}: {_HOW_TO_GET_ROOM}\n{error}"
            ) from error
        if isinstance(error, OSError):
            raise TargetError(f"cannot make {what} in {final.parent}: {error}") from error
        raise
    finally:
        for left in filter(None, (temporary, old)):
            namespace.remove(left)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"the cache {path} cannot be made: {error.strerror}; {_ELSEWHERE}"
        ) from error


def note(text: str) -> None:
    """Tell the person who waits what is going on, on stderr, if it is still there."""
    with suppress(OSError):
        print(f"page-alloc-bench: {text}", file=sys.stderr, flush=True)


@contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file PATH; the kernel drops it whatever happens to this process."""
    try:
        opened = path.open("w")
    except OSError as error:
        raise TargetError(
            f"the cache {path.parent} cannot be written: {error.strerror}; {_ELSEWHERE}"
        ) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"waiting for another process that prepares {what}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
