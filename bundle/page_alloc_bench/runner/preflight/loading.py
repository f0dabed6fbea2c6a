# SPDX-License-Identifier: GPL-2.0-only
"""Whether the kernel will take our module, and is free to."""

from __future__ import annotations

import re
from collections.abc import Iterator

from page_alloc_bench.runner.kernel import build_identity
from page_alloc_bench.runner.lifetime import claim
from page_alloc_bench.runner.module import loading

from . import NOT_ROOT
from .check import NOTE, REFUSE, WARN, Check, Finding
from .host import Host

ANOTHER_COPY = "another-copy"
_SIGN = "sign the module with a key that this kernel trusts (page-alloc-bench build --sign-key)"
_TRUSTED = "whether this kernel trusts the key is known when the module is loaded"


class Root(Check):
    """The rights of this process."""

    name = "root"
    severity = REFUSE
    meaning, advice = NOT_ROOT.split("; ")
    acceptable = False

    def look(self, host: Host) -> Iterator[Finding]:
        """Report anybody but root."""
        if host.euid:
            yield self.finding(f"this is user {host.euid}", commands=(f"sudo {host.again}",))


class Module(Check):
    """The bundle's module for this kernel."""

    name = "module"
    severity = REFUSE
    meaning = "there is nothing to load"
    acceptable = False
    advice = (
        "build one for it: page-alloc-bench build --kdir TREE; or, if this host has its kernel's "
        "headers and a compiler, give --build-on-target"
    )

    def found(self, host: Host) -> str | None:
        """Report what the bundle says."""
        return host.module.problem.partition("; ")[0] or None


class OtherBuild(Check):
    """A module that was made for another build of this release."""

    name = "other-build"
    severity = REFUSE
    meaning = (
        "the module may not fit the structures of this kernel: figures may be wrong, and the "
        "kernel may crash"
    )
    advice = (
        "boot that kernel; or build a bundle from the tree that this one was built in: "
        "page-alloc-bench build --kdir TREE"
    )

    def look(self, host: Host) -> Iterator[Finding]:
        """Refuse another build; warn where that cannot be told."""
        built, running = host.module.build, host.build
        if built is None:
            return
        verdict = build_identity.compare(built, running)
        told = build_identity.words(verdict, built, running)
        headers = host.module.headers
        of = f"the tree {headers} is" if headers else "the module is for"
        if verdict.same is False:
            yield self.finding(f"{of} another build of {host.release}: {told}")
        elif verdict.same is None:
            yield self.finding(
                f"{of} perhaps another build of {host.release}: {told}",
                severity=WARN,
                advice="build the bundle from a tree in which the kernel has been built whole",
            )


class ModulesDisabled(Check):
    """kernel.modules_disabled."""

    name = "modules-disabled"
    severity = REFUSE
    meaning = "this kernel loads no modules until the next boot"
    acceptable = False
    advice = "reboot, and disable whatever sets it"

    def found(self, host: Host) -> str | None:
        """Report 1."""
        return "kernel.modules_disabled is 1" if host.sysctl("kernel.modules_disabled") else None


class _Signed(Check):
    """Something that makes the kernel ask for signed modules."""

    severity = REFUSE
    meaning = "this kernel loads only signed modules, and the bundle's module is not signed"
    acceptable = False

    def look(self, host: Host) -> Iterator[Finding]:
        """Refuse a module that is not signed; of one that is, say that it has to be."""
        found = self.found(host)
        if found and host.module.signed:
            yield self.finding(
                found, severity=NOTE, meaning=f"the bundle's module is signed;  {_TRUSTED}"
            )
        elif found:
            yield self.finding(found)


class Lockdown(_Signed):
    """The kernel's lockdown, by secure boot for instance."""

    name = "lockdown"
    advice = f"{_SIGN}, or boot without lockdown"

    def found(self, host: Host) -> str | None:
        """Report a level other than none."""
        text = host.read("sys/kernel/security/lockdown") or ""
        level = re.search(r"\[(\w+)\]", text)
        named = level[1] if level else "none"
        return f"the kernel is locked down ({named})" if named != "none" else None


class SigEnforce(_Signed):
    """module.sig_enforce."""

    name = "sig-enforce"
    advice = f"{_SIGN}, or boot without module.sig_enforce"

    def found(self, host: Host) -> str | None:
        """Report Y."""
        enforced = host.read("sys/module/module/parameters/sig_enforce") == "Y"
        return "module.sig_enforce is on" if enforced else None


class AnotherCopy(Check):
    """Another run on this host."""

    name = ANOTHER_COPY
    severity = REFUSE
    meaning = "two runs would disturb each other"
    acceptable = False
    advice = "wait for it to end, or stop it"

    def look(self, host: Host) -> Iterator[Finding]:
        """Look for the socket that a run holds; a run itself has taken it by now."""
        if not host.options.preflight:
            return
        rows = (host.read("proc/net/unix") or "").splitlines()
        taken = any(row.split()[-1:] == [claim.LISTED_AS] for row in rows)
        if taken:
            found = f"another copy{claim.holder()} is running"
            yield self.finding(found, commands=(f"{host.bundle} --stop",))


class StaleModule(Check):
    """A module of our name."""

    name = "stale-module"
    severity = WARN
    worst = REFUSE
    meaning = (
        "it is left from a run that was killed together with its watchdog; it will be replaced"
    )
    acceptable = False
    advice = "nothing has to be done; to remove it without a run"
    commands = (f"rmmod {loading.NAME}",)

    def look(self, host: Host) -> Iterator[Finding]:
        """Report one that is loaded; refuse if it is in use."""
        for row in (host.read("proc/modules") or "").splitlines():
            name, _size, users = row.split()[:3]
            if name == loading.NAME and users == "0":
                yield self.finding(f"a module {name} is loaded already, unused")
            elif name == loading.NAME:
                yield self.finding(
                    f"a module {name} is loaded and in use",
                    severity=REFUSE,
                    meaning="another process has opened it",
                    advice=f"wait until that process ends (fuser {loading.device_path()} names it)",
                    commands=(),
                )


CHECKS = (
    Root(),
    Module(),
    OtherBuild(),
    ModulesDisabled(),
    Lockdown(),
    SigEnforce(),
    AnotherCopy(),
    StaleModule(),
)
