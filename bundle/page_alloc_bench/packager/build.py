# SPDX-License-Identifier: GPL-2.0-only
"""From a kernel tree to a bundle."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench import resources
from page_alloc_bench.packager import bundle, kbuild, manifest, tree, wheels, zipapp
from page_alloc_bench.packager.errors import PackagerError

Progress = Callable[[str], None]


def _no_progress(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class BuildRequest:
    """What to build: the options of ``page-alloc-bench build``, None for kbuild's own default."""

    kdir: Path
    output: Path
    llvm: str | None = None
    arch: str | None = None
    cross_compile: str | None = None
    cc: str | None = None
    kcflags: str | None = None
    jobs: int | None = None
    compile_commands: Path | None = None
    verbose: bool = False

    @property
    def toolchain(self) -> tree.Toolchain:
        """The part of the request that kbuild is told."""
        return tree.Toolchain(
            self.llvm or None,
            self.arch or None,
            self.cross_compile or None,
            self.cc or None,
            self.kcflags or None,
        )


@dataclass(frozen=True)
class BuildResult:
    """What was built; sizes in bytes, digests in hexadecimal."""

    path: Path
    size: int
    sha256: str
    release: str
    machine: str
    compiler: str
    module_name: str
    module_size: int
    module_sha256: str
    warnings: tuple[str, ...] = ()


def build(request: BuildRequest, progress: Progress = _no_progress) -> BuildResult:
    """Build the bundle that ``request`` describes; raise PackagerError if that cannot be done.

    Nothing is written but the output, whole, and compile_commands.json where it was asked for.
    """
    _require_writable(request.output)
    with tempfile.TemporaryDirectory(prefix="page-alloc-bench-", dir=_scratch_parent()) as name:
        scratch = Path(name).resolve()
        kernel = tree.probe(request.kdir)
        progress(f"kernel   {kernel.release} from {kernel.path} ({kernel.compiler})")
        warnings = tuple(kernel.warnings())
        for warning in warnings:
            progress(f"warning: {warning}")
        sources = kbuild.copy_sources(resources.kmod_dir(), scratch)
        kmod = manifest.read_tree(sources)
        module = _compile(request, kernel, sources, progress)
        progress(f"module   {len(module.data):,} bytes, {module.info.vermagic}")
        members = zipapp.make_members(wheels.psutil_wheel(module.info.machine), scratch)
        data = bundle.assemble([module], members, kmod)
        bundle.write(request.output, data)
    return BuildResult(
        path=request.output,
        size=len(data),
        sha256=manifest.sha256(data),
        release=module.info.release,
        machine=module.info.machine,
        compiler=module.info.compiler,
        module_name=manifest.module_name(module),
        module_size=len(module.data),
        module_sha256=manifest.sha256(module.data),
        warnings=warnings,
    )


def _compile(
    request: BuildRequest, kernel: tree.Tree, sources: Path, progress: Progress
) -> kbuild.BuiltModule:
    tools = tree.complete_toolchain(kernel, request.toolchain)
    progress(f"compile  with {tree.compiler_of(kernel, tools)}")
    module = kbuild.build(
        kernel,
        tools,
        sources,
        jobs=request.jobs or os.cpu_count() or 1,
        verbose=request.verbose,
        progress=progress,
    )
    if request.compile_commands:
        text = kbuild.compile_commands(kernel, sources, resources.kmod_dir())
        try:
            request.compile_commands.write_text(text)
        except OSError as error:
            raise PackagerError(
                f"{request.compile_commands} cannot be written: {error.strerror}"
            ) from error
    return module


def _scratch_parent() -> str:
    """Return where to build; make cannot, in a directory whose name means something to it."""
    asked = tempfile.gettempdir()
    for parent in (asked, "/var/tmp", "/tmp"):  # noqa: S108 - parents of private directories
        if re.fullmatch(r"[\w/.,+@=-]+", parent) and os.access(parent, os.W_OK | os.X_OK):
            return parent
    raise PackagerError(f"make cannot work in {asked}", "set TMPDIR to a path without spaces")


def _require_writable(output: Path) -> None:
    """Find out before the compilation, not after it, that the result has no place to go."""
    if not shutil.which("make"):
        raise PackagerError("make is not installed", "install make and a compiler", 3)
    if output.is_dir():
        raise PackagerError(f"{output} is a directory", "give a file name with -o")
    parent = output.parent
    if not parent.is_dir():
        raise PackagerError(f"{parent} is not a directory", "create it, or choose another -o")
    if not os.access(parent, os.W_OK):
        raise PackagerError(f"{parent} is not writable", "choose another place with -o")
