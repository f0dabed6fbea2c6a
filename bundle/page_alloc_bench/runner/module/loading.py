# SPDX-License-Identifier: GPL-2.0-only
"""Load and unload the kernel module, and explain it when that fails."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import time
from contextlib import ExitStack

from page_alloc_bench.runner.errors import HostUnfitError, RunnerError
from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.kernel.log import KernelLog

NAME = "page_alloc_bench"
_O_NONBLOCK = os.O_NONBLOCK  # delete_module never waits for users since v3.13; say so anyway
_POLL_S = 0.05
_LOG_LINES = 5
_SIGN = (
    "this kernel loads only signed modules (module.sig_enforce); build with --sign-key and "
    "--sign-cert, and a key that it trusts"
)


def load(image: bytes) -> list[str]:
    """Load the module from its ELF image; return warnings.

    A module of the same name that nobody uses, left by a run that was killed along with its
    watchdog, is replaced. Raises HostUnfitError, with the reason that the kernel gives.
    """
    warnings: list[str] = []
    with ExitStack() as stack:
        log = _open_log(stack)
        error = _init_module(image)
        if error == errno.EEXIST:
            _remove_stale()
            warnings.append(f"a module {NAME} was loaded already, unused: it has been replaced")
            error = _init_module(image)
        if error:
            raise HostUnfitError(_explain(error, log.messages() if log else []))
    return warnings


def unload(name: str, deadline: float) -> None:
    """Unload the module, trying until deadline (time.monotonic()) while something uses it.

    Gone already is fine. Raises RunnerError if it is still loaded then.
    """
    while True:
        error = delete_module(name)
        if error in (0, errno.ENOENT):
            break
        if error not in (errno.EAGAIN, errno.EBUSY) or time.monotonic() >= deadline:
            raise RunnerError(
                f"cannot unload the module {name}: {os.strerror(error)}; "
                f"find who uses it (fuser {device_path()}) and run: rmmod {name}"
            )
        time.sleep(_POLL_S)
    if is_loaded(name):
        raise RunnerError(f"the module {name} is still in /proc/modules after unloading it")


def is_loaded(name: str = NAME) -> bool:
    """Return whether /proc/modules lists the module; a kernel without modules has no such file."""
    lines = (procfs.read_or_none("/proc/modules") or "").splitlines()
    return any(line.split(" ", 1)[0] == name for line in lines)


def device_path() -> str:
    """Return the path of the module's device."""
    return f"/dev/{NAME}"


def make_device_node() -> bool:
    """Make the device's node if /dev is not kept by the kernel or udev.

    Returns whether a node was made; it can be unlinked as soon as the device is open.
    Raises OSError.
    """
    path = device_path()
    if os.path.lexists(path):
        return False
    major, minor = procfs.read(f"/sys/class/misc/{NAME}/dev").strip().split(":")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(int(major), int(minor)))
    return True


def _open_log(stack: ExitStack) -> KernelLog | None:
    """Return the kernel's log, closed with the stack; None in a container that shows none."""
    try:
        return stack.enter_context(KernelLog())
    except OSError:
        return None


def _libc() -> ctypes.CDLL:
    """Return the C library that Python itself uses; glibc and musl export both calls."""
    return ctypes.CDLL(None, use_errno=True)


def _init_module(image: bytes) -> int:
    """Call init_module(2); return 0 or the errno."""
    size = ctypes.c_ulong(len(image))
    return ctypes.get_errno() if _libc().init_module(image, size, b"") else 0


def delete_module(name: str) -> int:
    """Call delete_module(2); return 0 or the errno."""
    flags = ctypes.c_uint(_O_NONBLOCK)
    return ctypes.get_errno() if _libc().delete_module(name.encode(), flags) else 0


def _remove_stale() -> None:
    error = delete_module(NAME)
    if error in (errno.EAGAIN, errno.EBUSY):
        raise HostUnfitError(
            f"a module {NAME} is loaded and in use; wait for its user to end "
            f"(fuser {device_path()} names it)"
        )
    if error not in (0, errno.ENOENT):
        raise HostUnfitError(
            f"a module {NAME} is loaded and cannot be removed: {os.strerror(error)}"
        )


def _explain(error: int, log: list[str]) -> str:
    """Return in one line why the kernel did not take the module, and what can be done."""
    reasons = {
        errno.ENOEXEC: "it was built for another kernel; build a bundle for this one",
        errno.EKEYREJECTED: _SIGN,
        errno.ENOKEY: _SIGN,
        errno.ENOSYS: "this kernel is built without loadable modules",
        errno.ENOENT: "it needs a symbol that this kernel does not export",
        errno.ENOMEM: "there is not enough memory",
    }
    reason = _explain_eperm() if error == errno.EPERM else reasons.get(error)
    words = f"the kernel refuses the module: {os.strerror(error)} ({errno.errorcode.get(error)})"
    if reason:
        words += f": {reason}"
    if log:
        words += "; the kernel log says: " + " | ".join(log[-_LOG_LINES:])
    return words


def _explain_eperm() -> str:
    """EPERM has three causes; tell them apart."""
    if procfs.read_or_none("/proc/sys/kernel/modules_disabled") == "1":
        return "loading modules is disabled until the next boot (kernel.modules_disabled=1)"
    lockdown = procfs.read_or_none("/sys/kernel/security/lockdown") or ""
    if lockdown and "[none]" not in lockdown:
        return (
            "the kernel is locked down, as secure boot does; sign the module with a key that it "
            "trusts, or boot without lockdown"
        )
    return "this process lacks CAP_SYS_MODULE; is this a container?"
