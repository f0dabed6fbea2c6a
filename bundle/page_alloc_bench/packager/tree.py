# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel tree says about itself, and whether a module can be built against it.

A tree is whatever ``make -C KDIR M=…`` accepts: a distribution's headers, a built source tree, the
``O=`` directory of one, or a tree with no more than ``make modules_prepare``.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from page_alloc_bench.packager import compiler
from page_alloc_bench.packager.compiler import Toolchain
from page_alloc_bench.packager.errors import NOT_FIT, PackagerError
from page_alloc_bench.runner.bundle_file import target_build
from page_alloc_bench.runner.kernel import build_identity

Which = compiler.Which

# What kbuild calls the processors that uname -m, the configuration and packagers name otherwise.
KBUILD_ARCH = {
    "x86_64": "x86",
    "amd64": "x86",
    "x64": "x86",
    "i386": "x86",
    "i686": "x86",
    "aarch64": "arm64",
    "riscv64": "riscv",
    "ppc64le": "powerpc",
    "s390x": "s390",
    "ppc64": "powerpc",
    "ppc64el": "powerpc",
    "armhf": "arm",
    "armv7l": "arm",
    "loongarch64": "loongarch",
}
# What kbuild starts of the tree's own, as far as a tree has it.
_PROGRAMS = (
    "scripts/basic/fixdep", "scripts/mod/modpost", "scripts/sign-file", "tools/objtool/objtool",
)  # fmt: skip
# Of those, what kbuild takes as ARCH all the same: the top Makefile of the kernel.
_ALSO_ARCH = ("i386", "x86_64")
CROSS_PREFIX = {
    "x86": "x86_64-linux-gnu-",
    "arm64": "aarch64-linux-gnu-",
    "riscv": "riscv64-linux-gnu-",
    "powerpc": "powerpc64le-linux-gnu-",
    "s390": "s390x-linux-gnu-",
}


@dataclass(frozen=True)
class Tree:
    """A kernel tree that is ready to build modules.

    ``release`` is the release in its headers, ``arch`` kbuild's name of the architecture,
    ``compiler`` the words its compiler described itself with. ``modversions`` and ``symvers`` tell
    whether modules carry symbol versions and whether the tree still has them. ``signature_hash`` is
    what the kernel's own modules are signed with, "" when it does not check signatures, and
    ``signed_only`` whether it refuses modules without one whatever its command line says.
    ``unloads`` is whether it can unload modules. ``trimmed`` is whether the kernel exports only
    what its own modules use. ``build`` is what the runner's build_identity.of_tree() says.
    """

    path: Path
    release: str
    arch: str
    compiler: str
    modversions: bool
    symvers: bool
    signature_hash: str = ""
    signed_only: bool = False
    trimmed: bool = False
    unloads: bool = True
    build: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def clang(self) -> bool:
        """Whether clang built this kernel."""
        return "clang" in self.compiler

    def warnings(self) -> list[str]:
        """Return what the user should know about a module of this tree, a sentence each."""
        return [*self._unchecked_symbols(), *self._unknown_build(), *self._stays_loaded()]

    def _stays_loaded(self) -> list[str]:
        if self.unloads:
            return []
        return [
            f"the kernel of {self.path} cannot unload modules (CONFIG_MODULE_UNLOAD is off): the "
            "first run leaves the module loaded, and the next one needs a reboot"
        ]

    def _unchecked_symbols(self) -> list[str]:
        if self.symvers:
            return []
        lost = (
            "this kernel checks symbol versions and will refuse the module"
            if self.modversions
            else "a symbol that the kernel lacks shows only when the module is loaded"
        )
        return [
            f"{self.path} has no Module.symvers with the kernel's symbols, so they are not "
            f"checked: {lost}; a full build of the kernel makes that file"
        ]

    def _unknown_build(self) -> list[str]:
        """Say what the runner will not be able to tell; another build may look the same."""
        if self.build.get("build_id") or self.build.get("version"):
            return []
        return [
            f"{self.path} does not tell which build of {self.release} it is of (it has no vmlinux "
            "and no utsversion.h): a kernel of another build cannot be refused"
        ]


def probe(kdir: Path) -> Tree:
    """Read the tree at ``kdir``; raise PackagerError when no module can be built against it."""
    try:
        return _probe(kdir)
    except PermissionError as error:
        raise PackagerError(
            f"{error.filename} may not be read",
            "make the tree readable for you (chmod -R a+rX), with the directories above it, or "
            "build as its owner",
            NOT_FIT,
        ) from error


def _probe(kdir: Path) -> Tree:
    _require_tree(kdir)
    _require_prepared(kdir)
    config = _config(kdir / "include/config/auto.conf")
    if config.get("CONFIG_MODULES") != "y":
        raise PackagerError(
            f"the kernel of {kdir} has no loadable modules",
            "set CONFIG_MODULES=y and CONFIG_MODULE_UNLOAD=y and build it again",
            NOT_FIT,
        )
    return Tree(
        path=kdir,
        release=_release(kdir),
        arch=_arch(kdir),
        compiler=config.get("CONFIG_CC_VERSION_TEXT", "").strip('"'),
        modversions=config.get("CONFIG_MODVERSIONS") == "y",
        symvers=target_build.knows_symbols(str(kdir)),
        trimmed=config.get("CONFIG_TRIM_UNUSED_KSYMS") == "y",
        unloads=config.get("CONFIG_MODULE_UNLOAD") == "y",
        signature_hash=config.get("CONFIG_MODULE_SIG_HASH", "").strip('"'),
        signed_only=config.get("CONFIG_MODULE_SIG_FORCE") == "y",
        build=build_identity.of_tree(str(kdir)),
    )


def complete_toolchain(tree: Tree, asked: Toolchain, which: Which = shutil.which) -> Toolchain:
    """Return ``asked`` with the architecture filled in where the tree is not the host's own.

    Raises PackagerError when the compiler that kbuild would start is missing, is of the wrong
    family, or cannot make code for the tree's architecture.
    """
    host = KBUILD_ARCH.get(platform.machine(), platform.machine())
    arch = asked.arch
    _require_own_arch(tree, asked)
    foreign = _common_arch(arch or tree.arch) not in (host, "um")
    if foreign and not (asked.cross_compile or asked.llvm or asked.cc):
        prefix = CROSS_PREFIX.get(_common_arch(arch or tree.arch), "PREFIX-")
        raise PackagerError(
            f"{tree.path} is a kernel for {arch or tree.arch}, and the compiler makes {host}"
            f"{_as_said(asked, 'arch')}",
            f"name a cross compiler with --cross-compile {prefix}, or use --llvm 1",
            NOT_FIT,
        )
    if arch is None and (foreign or tree.arch == "um"):
        arch = tree.arch
    complete = replace(asked, arch=arch)
    _require_compiler(tree, complete, which)
    return complete


def _require_own_arch(tree: Tree, asked: Toolchain) -> None:
    """Raise PackagerError where the caller's architecture is not the tree's, in kbuild's words."""
    arch = asked.arch
    if not arch or not tree.arch or arch == tree.arch:
        return
    kbuilds = KBUILD_ARCH.get(arch, arch)
    if kbuilds == tree.arch and arch in _ALSO_ARCH:
        return
    wrong = f"{tree.path} is a kernel for {tree.arch}, and {asked.origin('arch')}"
    unset = "unset ARCH" if "arch" in asked.from_environment else "leave out --arch"
    if kbuilds == tree.arch:
        raise PackagerError(
            f"{wrong} is a name for that which kbuild does not know",
            f"{unset}, since the tree says what it is for, or say {tree.arch}",
            NOT_FIT,
        )
    raise PackagerError(
        f"{wrong} asks for another",
        f"{unset}, since the tree says what it is for, or give the tree of such a kernel",
        NOT_FIT,
    )


def _as_said(asked: Toolchain, *fields: str) -> str:
    """Return, in brackets, which of these fields the environment has set; "" if none."""
    said = [asked.origin(name) for name in fields if name in asked.from_environment]
    return f" ({', '.join(said)})" if said else ""


def compiler_of(tree: Tree, tools: Toolchain) -> str:
    """Return the compiler that kbuild will start, as a command."""
    if tools.cc:
        return tools.cc
    named = _compiler_in_kernelvariables(tree.path)
    if named:
        return (tools.cross_compile or "") + named
    if tools.llvm:
        return tools.llvm_tool("clang")
    return (tools.cross_compile or "") + "gcc"


def of_running_kernel() -> Path:
    """Return where the headers of the running kernel are, or would be."""
    return Path("/lib/modules") / platform.release() / "build"


def _other_tree(kdir: Path) -> str:
    """Return what to do about a tree that is not there: by default, or where the user said."""
    if kdir == of_running_kernel():
        return (
            "give one with --kdir, or install the headers of the running kernel: "
            f"linux-headers-{platform.release()} on Debian and Ubuntu, kernel-devel on Fedora"
        )
    found = sorted(path for path in Path("/lib/modules").glob("*/build") if path.is_dir())
    trees = f"this host has {', '.join(map(str, found))}" if found else "this host has no headers"
    return f"check the path of --kdir; {trees}"


def _require_tree(kdir: Path) -> None:
    if not kdir.exists():
        dangling = f" (it points to {os.readlink(kdir)})" if kdir.is_symlink() else ""
        raise PackagerError(
            f"there is no kernel tree at {kdir}{dangling}", _other_tree(kdir), NOT_FIT
        )
    if not (kdir / "Makefile").is_file():
        raise PackagerError(
            f"{kdir} is not a kernel tree: it has no Makefile",
            "give the directory that you would give to make -C",
            NOT_FIT,
        )


def _require_prepared(kdir: Path) -> None:
    _require_files(kdir)
    _require_programs(kdir)


def _require_programs(kdir: Path) -> None:
    """Look for tools of the tree that lost their mode on the way here, or may not run here."""
    for name in _PROGRAMS:
        path = kdir / name
        if path.exists() and not os.access(path, os.X_OK):
            raise PackagerError(
                f"{path} may not be executed",
                f"run: chmod +x {path}; or copy the tree again with its modes (cp -a, tar), to a "
                "file system that is not mounted noexec",
                NOT_FIT,
            )


def _require_files(kdir: Path) -> None:
    scripts = kdir / "scripts"
    if scripts.is_symlink() and not scripts.exists():
        raise PackagerError(
            f"{kdir} lacks its build tools: scripts points to {os.readlink(scripts)}",
            "install the package that holds them (linux-kbuild-VERSION on Debian)",
            NOT_FIT,
        )
    needed = (
        "include/config/auto.conf",
        "include/generated/autoconf.h",
        "include/generated/utsrelease.h",
        "scripts/mod/modpost",
    )
    missing = [name for name in needed if not (kdir / name).exists()]
    if not missing:
        return
    if (kdir / ".config").exists():
        advice = f"run: make -C {kdir} modules_prepare"
    else:
        advice = (
            "give the O= directory if the kernel was built in one; else configure the tree and "
            f"run: make -C {kdir} olddefconfig modules_prepare"
        )
    raise PackagerError(
        f"{kdir} is not prepared for modules: {missing[0]} is missing", advice, NOT_FIT
    )


def _config(path: Path) -> dict[str, str]:
    """Return the CONFIG_ settings of ``path``, values as they stand there."""
    pairs = (line.partition("=") for line in _text(path).splitlines())
    return {name: value for name, sign, value in pairs if sign and name.startswith("CONFIG_")}


def _text(path: Path) -> str:
    """Return the text of a file of the tree, whatever is in it."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PackagerError(
            f"{path} cannot be read: {error.strerror}", "make the tree readable for you", NOT_FIT
        ) from error


def _release(kdir: Path) -> str:
    """Return the release that modules of this tree are stamped with.

    utsrelease.h is what becomes the vermagic; include/config/kernel.release differs from it in
    Debian's headers.
    """
    text = _text(kdir / "include/generated/utsrelease.h")
    found = re.search(r'UTS_RELEASE\s+"([\w.+~:-]+)"', text)
    if not found:
        raise PackagerError(
            f"{kdir} does not name its release in include/generated/utsrelease.h",
            f"that file is damaged: remove it and run make -C {kdir} modules_prepare, or install "
            "the headers again",
            NOT_FIT,
        )
    return found[1]


def _arch(kdir: Path) -> str:
    """Return the ARCH that the tree was configured with, or "" when it does not say."""
    for name in ("include/config/auto.conf", "include/generated/autoconf.h", ".config"):
        path = kdir / name
        if path.exists():
            found = re.search(r"Linux/(\w+) \S+ Kernel Configuration", _text(path)[:4096])
            if found:
                return found[1]
    return ""


def _common_arch(arch: str) -> str:
    return KBUILD_ARCH.get(arch, arch) or KBUILD_ARCH.get(platform.machine(), "")


def _compiler_in_kernelvariables(kdir: Path) -> str | None:
    """Return the gcc that Debian's headers insist on, without its cross prefix."""
    path = kdir / ".kernelvariables"
    if not path.exists():
        return None
    found = re.search(r"^CC\s*[:?]?=.*?([\w.-]*gcc[\w.-]*)\s*$", _text(path), re.MULTILINE)
    return found[1] if found else None


def _require_compiler(tree: Tree, tools: Toolchain, which: Which) -> None:
    command = compiler_of(tree, tools)
    if tree.clang and "clang" not in command:
        raise PackagerError(
            f"{tree.path} was built with clang ({tree.compiler}), and {command} would be used"
            f"{_as_said(tools, 'cc', 'llvm', 'cross_compile')}",
            "add --llvm 1, as you did for the kernel"
            + (", and unset CC" if "cc" in tools.from_environment else ""),
            NOT_FIT,
        )
    compiler.require(command, tree.compiler, _as_said(tools, "cc", "llvm", "cross_compile"), which)
    if tools.llvm:
        version = tools.llvm if tools.llvm.startswith("-") else ""
        packages = {"ld.lld": f"lld{version}"}
        names = ("ld.lld", "llvm-nm", "llvm-strip")
    else:
        packages, names = {}, ("ld", "nm", "strip")
    compiler.require_tools(
        {tools.tool(name): packages.get(name, tools.package) for name in names}, which
    )
