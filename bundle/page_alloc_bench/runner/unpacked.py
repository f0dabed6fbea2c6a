# SPDX-License-Identifier: GPL-2.0-only
"""What shiv calls when it has unpacked the runner: start a Python that has loaded nothing else.

Unpacking loads half of the standard library, OpenSSL with it, which would stay in memory for the
whole run: memory that the benchmark is about to count. The new Python is the same process.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

import page_alloc_bench

# An option and no environment variable, so that nobody but the caller of Python can set it.
SITE_OPTION = "page_alloc_bench_site"
HOME_OPTION = "page_alloc_bench_home"
FILE_SIZE_OPTION = "page_alloc_bench_file_size"
# Blocked meanwhile, since nobody would remove the scratch directory; launch.py unblocks them.
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def main() -> None:
    """Replace this process's program by a fresh launch.py that finds everything unpacked."""
    site = os.path.dirname(os.path.dirname(page_alloc_bench.__file__))
    bundle = os.environ["PAGE_ALLOC_BENCH_BUNDLE"]
    soft, hard = map(int, str(sys._xoptions.pop(FILE_SIZE_OPTION)).split(":"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))  # it was lifted to unpack
    options = ["-I", "-S", "-B", "-X", f"{SITE_OPTION}={site}"]
    for name, value in sys._xoptions.items():
        options += ["-X", f"{name}={value}"]
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    command = [*_python(), *options, bundle, *sys.argv[1:]]
    os.execv(command[0], command)  # noqa: S606


def _python() -> list[str]:
    """Return how to start this Python: an embedded one by the loader it came with."""
    home = sys._xoptions.get(HOME_OPTION)
    if not home:
        return [sys.executable]
    libraries = ["--inhibit-cache", "--library-path", f"{home}/python/lib"]
    return [os.readlink("/proc/self/exe"), *libraries, sys.executable]
