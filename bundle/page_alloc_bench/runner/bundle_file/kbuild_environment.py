# SPDX-License-Identifier: GPL-2.0-only
"""What kbuild sees of the environment that it is started from: no more than it needs.

make takes every variable of its environment for one of its own, so any of them could change what is
built, unrecorded: OBJECT_FILES_NON_STANDARD, KBUILD_EXTRA_SYMBOLS, GNUMAKEFLAGS, CPATH and so on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

ALLOWED = (
    # To find programs, and their libraries.
    "PATH", "LD_LIBRARY_PATH",
    # Where programs keep what they need for themselves: ccache and its like.
    "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CCACHE_CONFIGPATH", "CCACHE_DIR",
    "CCACHE_DISABLE", "CCACHE_TEMPDIR", "DISTCC_DIR", "DISTCC_HOSTS", "SCCACHE_DIR",
)  # fmt: skip
# In the path of a directory to build in: make, the compiler's -Wp, and -ffile-prefix-map= take
# everything else for the end of a word.
_FIT = re.compile(r"[\w/.+@-]+", re.ASCII)


def environment(of: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for kbuild, its messages in English. of: by default our own."""
    given = os.environ if of is None else of
    kept = {name: given[name] for name in ALLOWED if name in given}
    temporary = given.get("TMPDIR")
    if temporary and is_fit(temporary):
        kept["TMPDIR"] = temporary
    return {**kept, "LC_ALL": "C"}


def is_fit(directory: str) -> bool:
    """Return whether kbuild can work in a directory of this name, by which way it is reached."""
    return all(_FIT.fullmatch(path) for path in (directory, os.path.realpath(directory)))
