# SPDX-License-Identifier: GPL-2.0-only
"""Run make in a kernel's source, with a log, and leave no compiler behind however this ends."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from page_alloc_bench.campaign import with_owner
from page_alloc_bench.packager.compiler import package_of
from page_alloc_bench.runner.bundle_file.kbuild_environment import environment
from page_alloc_bench.targets.process import CommandError, TargetError, describe, tail

# Documentation/kbuild/reproducible-builds.rst
_SAME_EACH_TIME = (
    "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_VERSION=1",
    "KBUILD_BUILD_USER=page-alloc-bench",
    "KBUILD_BUILD_HOST=localhost",
)
_TOOLS = ("make", "flex", "bison", "bc", "perl")  # each in a package of its name
# Of the lines of a compiler, a linker, modpost, kconfig and make: those that say why.
_REASON = re.compile(r"\berror\b|undefined reference|undefined!|No rule to make target", re.I)
_MAKES_OWN = re.compile(r"^make(\[\d+\])?: \*\*\*.* Error \d+$")
_REASONS = 3


class MakeError(Exception):
    """make failed; the message is the reason, in the words of the compiler."""


def flags(make: Sequence[str]) -> list[str]:
    """Return the words that make a build depend on its source and its configuration only."""
    return [*_SAME_EACH_TIME, *make]


def compiler(make: Sequence[str]) -> list[str]:
    """Return the command of the compiler that the words for make's command line choose."""
    given = dict(word.partition("=")[::2] for word in make)
    if "CC" in given:
        return given["CC"].split()
    llvm = given.get("LLVM", "")
    if llvm:
        return [f"{llvm}clang" if llvm.endswith("/") else f"clang{llvm if llvm[0] == '-' else ''}"]
    return [f"{given.get('CROSS_COMPILE', '')}gcc"]


def compiler_version(make: Sequence[str]) -> str:
    """Return what the compiler says of itself. Raises TargetError where a tool is missing."""
    command = compiler(make)
    missing = [name for name in (*_TOOLS, command[0]) if not shutil.which(name)]
    if missing:
        packages = " ".join(map(package_of, missing))
        raise TargetError(
            f"a kernel cannot be built here: {', '.join(missing)} not installed: apt-get install "
            f"{packages} libelf-dev libssl-dev"
        )
    done = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, check=False, env=environment()
    )
    if done.returncode != 0:
        raise TargetError(f"{' '.join(command)} --version: {describe(done.returncode)}")
    return done.stdout.partition("\n")[0]


def make(source: Path, objects: Path, words: Sequence[str], log: Path) -> None:
    """Run ``make O=OBJECTS WORDS`` in SOURCE; what it says goes to the end of LOG.

    Raises MakeError with the reason where it fails.
    """
    given = any(word.startswith(("CC=", "LLVM=")) for word in words)
    cross = next((w.partition("=")[2] for w in words if w.startswith("CROSS_COMPILE=")), "")
    cached = [] if given or not shutil.which("ccache") else [f"CC=ccache {cross}gcc"]
    run(["make", "-C", str(source), f"O={objects}", *cached, *words], source, log)


def run(argv: Sequence[str], cwd: Path, log: Path) -> None:
    """Run ARGV in CWD, with kbuild's environment; what it says goes to the end of LOG.

    Raises MakeError with the reason where it fails.
    """
    if not shutil.which(argv[0]):
        raise CommandError(argv, None, "not installed", "")
    with log.open("a") as file:
        file.write(f"$ {' '.join(argv)}\n")
        file.flush()
        start = file.tell()
        # Leaving the block closes stdin, which ends what still runs.
        with subprocess.Popen(
            [sys.executable, "-I", "-S", with_owner.__file__, *argv], cwd=cwd, env=environment(),
            stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        ) as process:  # fmt: skip
            status = process.wait()
    if status != 0:
        with log.open(errors="replace") as file:
            file.seek(start)
            raise MakeError(reason(file.read(), status))


def reason(log: str, status: int) -> str:
    """Return the lines of a failed make that say why."""
    lines = [line.strip() for line in log.splitlines() if _REASON.search(line)]
    why = [line for line in lines if not _MAKES_OWN.match(line)][:_REASONS]
    return "\n".join(why) or tail(log, _REASONS) or f"make: {describe(status)}"
