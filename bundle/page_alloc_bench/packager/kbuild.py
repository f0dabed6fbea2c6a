# SPDX-License-Identifier: GPL-2.0-only
"""Compile the kernel module against a tree, away from the sources."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from page_alloc_bench.packager import module_info, process, signing
from page_alloc_bench.packager.compiler import Toolchain
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.place import HERE, Place
from page_alloc_bench.packager.tree import Tree
from page_alloc_bench.runner.bundle_file.kbuild_environment import environment
from page_alloc_bench.runner.kernel import host_facts

Progress = Callable[[str], None]

MODULE = "page_alloc_bench"
MODULE_DIRECTORY = "kmod"
_DROPPINGS = shutil.ignore_patterns(
    "*.o", "*.ko", "*.mod", "*.mod.c", "*.cmd", ".*", "Module.symvers", "modules.order",
    "compile_commands.json", "__pycache__",
)  # fmt: skip
_LINES_SHOWN = 60
# What make says of each symbol where the tree's one warning has said it all.
_SYMBOLS = re.compile(r"modpost|Module\.symvers|KBUILD_MODPOST_WARN")
_UNDEFINED = r'modpost: "([^"]+)" .*undefined'
# The lines that belong to kbuild's warning of another compiler than the kernel's.
_COMPARED = re.compile(r"\n +((?:The kernel was built by|You are using):)")
# What make and the compiler say, and what helps.
_ADVICE = (
    (
        r"(?:[Cc]ould not find compiler|exec:) \"?([\w./+-]+)\"?(?: in PATH|: not found|: No such)",
        "a wrapper that is called as the compiler does not find {0}: install {0}, or name the "
        "compiler itself with --cc",
    ),
    (
        r"(?:/bin/sh: \d+: |make.*?: |sh: )([\w./+-]*(?:gcc|clang|ld|ld\.lld|objcopy)[\w.-]*):"
        r" (?:not found|command not found|No such file)",
        "install {0}, or name another with --cc, --cross-compile or --llvm",
    ),
    (
        r"[Mm]akefile:\d+: (\S+): No such file or directory",
        "the tree refers to {0}, which does not exist: install the rest of its headers "
        "(linux-headers-VERSION-common on Debian)",
    ),
    (
        r"fatal error: (\S+): No such file or directory",
        "the header {0} is missing: if it is the kernel's own, the tree is incomplete; "
        "run make modules_prepare in it, or install the package of its headers again",
    ),
    (
        r"version `(GLIBC_[\d.]+)' not found",
        "the tree's own build tools need a newer C library ({0}) than this host has: build on the "
        "distribution that the headers come from",
    ),
    (
        r"unrecognized command[- ]line option|unknown argument|plugin",
        "the compiler does not know an option that the kernel or KCFLAGS asks for: use the "
        "compiler that built the kernel ({compiler})",
    ),
    (r"No space left on device", "make room in the temporary directory, or set TMPDIR"),
    (
        r"(\S+): Permission denied",
        "{0} may not be read or executed: chmod it, or copy the tree again with its modes (cp -a, "
        "tar), to a file system that is not mounted noexec",
    ),
    (
        _UNDEFINED,
        "this kernel does not export {0}; please report its release ({release}) to the project",
    ),
)
_TRIMMED = (
    "this kernel exports only what its own modules use (CONFIG_TRIM_UNUSED_KSYMS), and {0} is not "
    "among that: switch that off, or list {0} in CONFIG_UNUSED_KSYMS_WHITELIST, and build the "
    "kernel again"
)


@dataclass(frozen=True)
class BuiltModule:
    """A stripped module, what it says about itself, and the configuration of its kernel.

    ``build``: which build of the kernel it is for, see the runner's build_identity. ``config``: as
    the runner's facts.describe_config() gives it; None if the tree has no .config.
    ``signature``: None if it is not signed.
    """

    info: module_info.ModuleInfo
    data: bytes
    config: Mapping[str, Any] | None = None
    build: Mapping[str, str | None] = field(default_factory=dict)
    signature: signing.Signature | None = None


def copy_sources(kmod: Path, scratch: Path) -> Path:
    """Copy the module's sources under ``scratch``, without what an earlier build left."""
    target = scratch / MODULE_DIRECTORY
    shutil.copytree(kmod, target, ignore=_DROPPINGS)
    return target


def build(
    tree: Tree,
    tools: Toolchain,
    sources: Path,
    *,
    jobs: int,
    verbose: bool,
    progress: Progress,
    signer: signing.Signer | None = None,
    within: Place = HERE,
) -> BuiltModule:
    """Build the module in ``sources``, a directory of its own; raise PackagerError if it fails.

    All programs run ``within`` that place.
    """
    command = within.command(make_command(tree, tools, sources, jobs), [sources], [])
    if verbose:
        progress(shlex.join(command))
    finished = process.run(command, env=environment())
    if verbose:
        for line in finished.stdout.splitlines():
            progress(line)
    module = sources / f"{MODULE}.ko"
    if finished.status != 0 or not module.exists():
        raise _failure(tree, sources, finished)
    for line in _COMPARED.sub(r"; \1", finished.stderr).splitlines():
        if not tree.symvers and _SYMBOLS.search(line):
            continue
        if "warning" in line.lower() and not not_ours(line, sources):
            progress(line.replace(str(sources), "kmod"))
    made_for = dict(tree.build)
    changed = _changed_since_link(tree, sources)
    if changed:
        progress(
            f"warning: {changed} has changed since {tree.path}/vmlinux was linked, so which build "
            "of the kernel this module fits cannot be told; build the kernel first"
        )
        made_for.update(build_id=None, version=None)
    _strip(module, tools, within)
    signature = signing.sign(tree, module, signer, within) if signer else None
    data = module.read_bytes()
    return BuiltModule(module_info.read(data), data, _config(tree.path), made_for, signature)


def make_command(tree: Tree, tools: Toolchain, sources: Path, jobs: int) -> list[str]:
    """Return the make command line.

    The prefix map keeps the scratch directory out of the module, so that two builds agree. Debug
    information names the tree; it would be stripped, but the build id is made before that. BTF is
    switched off because it needs pahole and the tree's vmlinux, and nothing reads it here.
    """
    kcflags = " ".join(filter(None, ("-g0", tools.kcflags, f"-ffile-prefix-map={sources}=kmod")))
    command = ["make", "-C", str(tree.path), f"-j{jobs}", f"M={sources}", f"KCFLAGS={kcflags}"]
    for name, value in (
        ("LLVM", tools.llvm),
        ("ARCH", tools.arch),
        ("CROSS_COMPILE", tools.cross_compile),
        ("CC", tools.cc),
    ):
        if value:
            command.append(f"{name}={value}")
    if not tree.symvers:
        command.append("KBUILD_MODPOST_WARN=1")
    return [*command, "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]


def compile_commands(tree: Tree, sources: Path, kmod: Path) -> str:
    """Return compile_commands.json for clangd, as if the module had been built in ``kmod``.

    Read from the .cmd files that kbuild leaves beside each object, since headers packages rarely
    carry the kernel's own generator.
    """
    commands = []
    for path in sorted(sources.rglob(".*.o.cmd")):
        found = re.match(r"(?:saved)?cmd_\S+ := (.*)", path.read_text(errors="replace"))
        source = found and re.search(r"(\S+\.c)\s*(?:;|$)", found[1])
        if not found or not source or source[1].endswith(".mod.c"):
            continue
        # From 6.13 on kbuild works in the module's own directory.
        here = (sources / source[1]).is_file() and not source[1].startswith("/")
        if not here and sources not in Path(source[1]).parents:
            continue  # a part of the kernel that kbuild links to every module
        place = kmod if here else tree.path.resolve()
        words = found[1].partition(" ; ")[0].strip()
        commands.append(
            {
                "directory": str(place),
                "command": words.replace(str(sources), str(kmod)),
                "file": str(place / source[1].replace(str(sources), str(kmod))),
            }
        )
    return json.dumps(commands, indent=2) + "\n"


def _changed_since_link(tree: Tree, sources: Path) -> Path | None:
    """Return a file of the kernel that the module was made from and that is newer than vmlinux.

    kbuild itself would build the kernel again then. Options count too: each has a file under
    include/config, whose time is that of its last change.
    """
    if not tree.build.get("build_id"):
        return None
    linked = (tree.path / "vmlinux").stat().st_mtime
    for record in sorted(sources.glob(".*.o.cmd")):
        dependencies = record.read_text(errors="replace").partition("\ndeps_")[2]
        for word in re.findall(r"(?:\$\(wildcard )?([\w./+@-]+)\)?(?= \\$)", dependencies, re.M):
            path: Path = tree.path / word
            if sources not in path.parents and path.is_file() and path.stat().st_mtime > linked:
                return path
    return None


def not_ours(line: str, sources: Path) -> bool:
    """Whether a warning is about the kernel's own headers, or about BTF, which is off."""
    found = re.match(r"(/[^:]+):\d+:", line)
    return "pahole" in line or bool(found and not found[1].startswith(f"{sources}/"))


def _strip(module: Path, tools: Toolchain, within: Place) -> None:
    """Drop the debug information, which is nine tenths of a module."""
    command = [tools.strip, "--strip-debug", str(module)]
    finished = process.run(within.command(command, [module.parent], []), env=environment())
    if finished.status != 0:
        raise PackagerError(
            f"{tools.strip} failed: {finished.stderr.strip()}",
            "is it the strip of the compiler's own toolchain? See --cross-compile and --llvm",
        )


def _failure(tree: Tree, sources: Path, finished: process.Finished) -> PackagerError:
    """Return the compiler's own words as an error, with what usually helps."""
    words = finished.stderr.replace(str(sources), "kmod").rstrip()
    lines = words.splitlines() or finished.stdout.splitlines()
    shown = lines[:_LINES_SHOWN]
    if len(lines) > len(shown):
        shown.append(f"… and {len(lines) - len(shown)} more lines (--verbose shows all)")
    advice = f"see the messages above; does make -C {tree.path} modules_prepare help?"
    for pattern, text in _ADVICE:
        found = re.search(pattern, finished.stderr)
        if found:
            said = _TRIMMED if pattern == _UNDEFINED and tree.trimmed else text
            advice = said.format(*found.groups(), compiler=tree.compiler, release=tree.release)
            break
    return PackagerError(
        "\n".join([f"the module does not build against {tree.path} ({tree.release}):", *shown]),
        advice,
    )


def _config(kdir: Path) -> dict[str, Any] | None:
    path = kdir / ".config"
    return host_facts.describe_config(path.read_text(errors="replace")) if path.is_file() else None
