# SPDX-License-Identifier: GPL-2.0-only
"""Compile the module on the host that is to be measured, from the source in the bundle.

For kernels that nobody built a module for. The host needs the headers of its kernel, make and the
compiler that the kernel was built with.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from page_alloc_bench.runner.errors import HostUnfitError
from page_alloc_bench.runner.kernel import build_identity, host_facts, procfs
from page_alloc_bench.runner.lifetime import in_child, safe_paths
from page_alloc_bench.runner.module import modinfo

from . import kbuild_environment

SOURCES = "kmod/"
_MODULE = "page_alloc_bench"
# Begins each message that says why a module cannot be built.
CANNOT = "the module cannot be built here"
_ERRORS_SHOWN = 4

# Entered, with the number of a process group, while that is at work.
Guard = Callable[[int], "AbstractContextManager[None]"]


def kdir() -> str:
    """Return where the headers of the running kernel are, if they are installed."""
    return f"/lib/modules/{os.uname().release}/build"


def require() -> list[str]:
    """Return the words of make that choose the compiler; HostUnfitError if something is missing."""
    release, headers = os.uname().release, kdir()
    if not os.path.isfile(f"{headers}/Makefile"):
        raise _cannot(
            f"the headers of kernel {release} are not installed ({headers} is missing); install "
            f"linux-headers-{release} on Debian and Ubuntu, kernel-devel-{release} on Fedora"
        )
    if not os.path.exists(f"{headers}/include/generated/autoconf.h"):
        raise _cannot(
            f"{headers} is not prepared for modules; run: make -C {headers} modules_prepare"
        )
    _require_program("make", "make")
    words = _compiler_words(headers)
    if not knows_symbols(headers):
        words.append("KBUILD_MODPOST_WARN=1")
    return words


def knows_symbols(tree: str) -> bool:
    """Return whether a tree lists what the kernel exports; make modules alone lists none of it."""
    return "\tvmlinux\t" in (procfs.read_or_none(f"{tree}/Module.symvers") or "")


def place(scratch: str | None) -> str:
    """Return the path of a directory to build in, to be made: in ``scratch`` if make can use it.

    ``scratch`` is None for an extracted bundle, which needs none otherwise.
    """
    own = f"page-alloc-bench.{os.urandom(8).hex()}"
    for parent in (scratch, "/dev/shm", os.environ.get("TMPDIR"), "/var/tmp", "/tmp", "/run"):  # noqa: S108 - the directory made there is private and unpredictable
        if parent and kbuild_environment.is_fit(parent) and _is_fit(parent):
            return os.path.join(os.path.abspath(parent), own)
    raise _cannot("no directory can be written to that other users cannot replace")


def _is_fit(parent: str) -> bool:
    return os.access(parent, os.W_OK) and not safe_paths.others_may_change(parent)


def build(sources: Mapping[str, bytes], place: str, guard: Guard) -> tuple[bytes, dict[str, Any]]:
    """Compile ``sources`` in the new directory ``place``; return the module and its entry.

    The entry is what a manifest has for a packed module, and "built_on_target". Whatever was
    started has ended when this returns or raises. Raises HostUnfitError, with make's own words.
    """
    words = require()
    os.mkdir(place, mode=0o700)
    for name, data in sources.items():
        path = os.path.join(place, name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    command = [
        "make", "-C", kdir(), f"-j{len(os.sched_getaffinity(0))}", f"M={place}", *words,
        f"KCFLAGS=-g0 -ffile-prefix-map={place}=kmod", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules",
    ]  # fmt: skip
    status, said = _run(command, guard)
    module = os.path.join(place, f"{_MODULE}.ko")
    if status != 0 or not os.path.exists(module):
        raise _cannot(_complaint(said.replace(place, "kmod")))
    if shutil.which("strip"):  # debug information is nine tenths of a module, and does no harm
        _run(["strip", "--strip-debug", module], guard)
    return in_child.call(lambda: _finished(module))


def sources_of(names: list[str], read: Callable[[str], bytes]) -> dict[str, bytes]:
    """Return the module's source among the parts of a bundle, by file name."""
    return {name[len(SOURCES) :]: read(name) for name in names if name.startswith(SOURCES)}


def _run(command: list[str], guard: Guard) -> tuple[int, str]:
    """Run a program to its end; return its status and what it said on both of its outputs."""
    process = subprocess.Popen(
        command,
        env=kbuild_environment.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    with process:
        try:
            with guard(process.pid):
                said, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, said


def _finished(module: str) -> tuple[bytes, dict[str, Any]]:
    """Return the module and its entry."""
    import hashlib

    with open(module, "rb") as file:
        image = file.read()
    info = modinfo.read(image)
    uname = os.uname()
    config = _config_of(kdir())
    return image, {
        "name": f"modules/{uname.release}-{uname.machine}/{_MODULE}.ko",
        "release": info.get("vermagic", "").partition(" ")[0],
        "machine": uname.machine,
        "vermagic": info.get("vermagic", "").strip(),
        "compiler": info["compiler"],
        "srcversion": info.get("srcversion", ""),
        "config": config,
        "build": build_identity.of_tree(kdir()),
        "signature": None,
        "size": len(image),
        "sha256": hashlib.sha256(image).hexdigest(),
        "built_on_target": True,
    }


def _config_of(headers: str) -> dict[str, Any] | None:
    try:
        return host_facts.describe_config(procfs.read(f"{headers}/.config"))
    except OSError:
        return None


def _compiler_words(headers: str) -> list[str]:
    """Return what tells make which compiler to use; HostUnfitError if it is not installed."""
    insisted = re.search(
        r"^CC\s*[:?]?=.*?([\w.-]*gcc[\w.-]*)\s*$",
        procfs.read_or_none(f"{headers}/.kernelvariables") or "",
        re.MULTILINE,
    )
    if insisted:  # Debian's headers, whatever make is told
        _require_program(insisted[1], insisted[1])
        return []
    config = procfs.read_or_none(f"{headers}/include/config/auto.conf") or ""
    found = re.search(r'^CONFIG_CC_VERSION_TEXT="?([^"\n]*)', config, re.MULTILINE)
    text = found[1] if found else ""
    if "clang" in text:
        return [f"LLVM={_llvm(text)}"]
    if shutil.which("gcc"):
        return []
    name = text.partition(" ")[0] or "gcc"
    _require_program(name, "gcc")
    return [f"CC={name}"]


def _llvm(text: str) -> str:
    """Return the LLVM= for a kernel that was built by the clang whose version ``text`` states."""
    if shutil.which("clang"):
        return "1"
    version = re.search(r"version (\d+)", text)
    suffix = f"-{version[1]}" if version else ""
    _require_program(f"clang{suffix}", f"clang{suffix} lld{suffix} llvm{suffix}")
    return suffix


def _require_program(name: str, packages: str) -> None:
    if not shutil.which(name):
        raise _cannot(f"{name} is not installed; install {packages}")


def _cannot(why: str) -> HostUnfitError:
    return HostUnfitError(f"{CANNOT}: {why}")


def _complaint(said: str) -> str:
    """Return the lines that say what is wrong, in one; the last lines if none stands out."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    wrong = [line for line in lines if re.search(r"\berror\b|not found|No such file", line, re.I)]
    return " | ".join((wrong or lines[-_ERRORS_SHOWN:] or ["make says nothing"])[:_ERRORS_SHOWN])
