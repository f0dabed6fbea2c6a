# SPDX-License-Identifier: GPL-2.0-only
"""Makes real bundles out of a runner of the test's own: no kernel, no network, no root needed."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from page_alloc_bench import outputs
from page_alloc_bench.packager import bundle, interpreter, zipapp
from page_alloc_bench.packager.interpreter import Interpreter
from page_alloc_bench.packager.kbuild import BuiltModule
from page_alloc_bench.packager.module_info import ModuleInfo
from page_alloc_bench.packager.zipapp import Member

RELEASE = "6.1.0-test"
MACHINE = "x86_64"
PATH = f"{Path(sys.executable).resolve().parent}:{os.environ['PATH']}"
MODULE_DATA = b"\x7fELF not really a module\n" * 100

# Tells what it was started with, and serves the verbs as the real runner does.
REPORTING_RUNNER = """
import json, os, sys

def main():
    verbs = {"--list": "list", "--check": "check", "--info": "info", "--extract": "extract"}
    if sys.argv[1:] and sys.argv[1] in verbs:
        from page_alloc_bench.runner.bundle_file import archive
        from page_alloc_bench.runner.bundle_file import verbs as implementation
        return implementation.run_verb(
            verbs[sys.argv[1]], archive.open_archive(), (sys.argv[2:] or [None])[0]
        )
    umask = os.umask(0)
    os.umask(umask)
    scratch = os.environ.get("PAGE_ALLOC_BENCH_SCRATCH")
    json.dump({
        "argv": sys.argv[1:],
        "pid": os.getpid(),
        "umask": umask,
        "stdin": "" if sys.stdin.isatty() else sys.stdin.read(),
        "bundle": os.environ.get("PAGE_ALLOC_BENCH_BUNDLE"),
        "scratch": scratch,
        "scratch_mode": os.stat(scratch).st_mode & 0o777 if scratch else None,
        "package": sys.modules["page_alloc_bench"].__file__,
        "inherited": sorted(n for n in os.environ if n.startswith(("PYTHON", "SHIV_"))),
        "flags": [sys.flags.isolated, sys.flags.no_site, sys.flags.dont_write_bytecode],
    }, sys.stdout)
    if "--keep" in sys.argv:
        os.environ["PAGE_ALLOC_BENCH_KEEP"] = "1"
    return 7 if "seven" in sys.argv else 0
"""
SLEEPING_RUNNER = """
import os, sys, time

def main():
    print(os.environ["PAGE_ALLOC_BENCH_SCRATCH"], flush=True)
    time.sleep(60)
"""
RAISING_RUNNER = """
def main():
    raise RuntimeError("on purpose")
"""


def make_bundle(
    path: Path,
    runner: str = REPORTING_RUNNER,
    *,
    interpreters: Sequence[Interpreter] = (),
    release: str = RELEASE,
    build: Mapping[str, str | None] | None = None,
) -> Path:
    """Write a bundle whose runner is ``runner``, the source of a module with main().

    build: which build of the kernel its module is for, as the runner's build_identity has it.
    """
    members = dict(_members())
    name = "site-packages/page_alloc_bench/runner/__main__.py"
    members[name] = Member(runner.encode())
    info = ModuleInfo(release, f"{release} SMP", MACHINE, "GCC: 12.2.0", "0123")
    modules = [BuiltModule(info, MODULE_DATA, build=build or {})]
    data = bundle.assemble(modules, members, {"Kbuild": b"obj-m"}, interpreters)
    outputs.write(path, data, executable=True)
    return path


def own_interpreter() -> Interpreter:
    """Return the Python that runs this, fit to run what a bundle holds: seconds of work."""
    with tempfile.TemporaryDirectory() as scratch:
        programs = zipapp.programs(_members())
        return interpreter.make(interpreter.own(), (), programs, Path(scratch) / "python")


def start(
    command: list[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    **more: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with text on its pipes.

    Its PATH begins with the Python of the tests: a version manager's scripts would look for one at
    each start.
    """
    merged = {**os.environ, "PATH": PATH, **(env or {})}
    more.setdefault("stdin", subprocess.DEVNULL)
    if "input" in more:
        del more["stdin"]
    return subprocess.run(
        command,
        cwd=cwd,
        env=merged,
        capture_output=True,
        text=True,
        errors="replace",  # a damaged bundle makes a shell quote what it came upon
        timeout=60,
        check=False,
        **more,
    )


@functools.cache
def _members() -> dict[str, Member]:
    """Return what is in every bundle: a second of work, which each process does once."""
    with tempfile.TemporaryDirectory() as scratch:
        wheels = {MACHINE: _psutil_wheel(Path(scratch))}
        return dict(zipapp.make_members(wheels, Path(scratch)))


def _psutil_wheel(directory: Path) -> Path:
    """Make a wheel that looks like psutil's, other systems' modules included."""
    path = directory / "psutil-0-cp36-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name in ("__init__.py", "_common.py", "_pslinux.py", "_pswindows.py"):
            wheel.writestr(f"psutil/{name}", "# psutil\n")
        (extension,) = Path(psutil.__file__).parent.glob("_psutil_linux*.so")
        wheel.write(extension, "psutil/_psutil_linux.abi3.so")
        wheel.writestr("psutil-0.dist-info/LICENSE", "BSD\n")
        wheel.writestr("psutil-0.dist-info/METADATA", "Name: psutil\n")
    return path
