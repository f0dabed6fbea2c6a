# SPDX-License-Identifier: GPL-2.0-only
"""Put a kernel that was built here on a host, beside its own, and take such kernels off again.

/boot/page-alloc-bench/RELEASE/    image, initramfs and configuration: no boot loader looks there
/lib/modules/RELEASE/              its modules, and the file page-alloc-bench: they are ours
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.runner.bundle_file.kbuild_environment import environment
from page_alloc_bench.targets import bootable
from page_alloc_bench.targets.bootable import Bootable, is_tree
from page_alloc_bench.targets.host.facts import PATH, HostKernel
from page_alloc_bench.targets.host.shell import Shell, checked
from page_alloc_bench.targets.kept import Kept
from page_alloc_bench.targets.process import TargetError, UsageError, need, run

PLACE = "/boot/page-alloc-bench"
_LONG_S = 1800.0
_ARCH = {"amd64": "x86", "arm64": "arm64"}
# What is marked is ours. A directory gets its final name with the mark in it, and loses the name
# before the mark: whenever this is cut off, nothing of ours is taken for the host's own.
_SHELL = f"""{PATH}place={PLACE}
own() {{ [ -e "/lib/modules/$1/page-alloc-bench" ]; }}
claim() {{
    rm -rf /lib/modules/.page-alloc-bench && mkdir /lib/modules/.page-alloc-bench &&
        : >/lib/modules/.page-alloc-bench/page-alloc-bench &&
        mv /lib/modules/.page-alloc-bench "/lib/modules/$1" && mkdir -p "$place/$1"
}}
drop() {{
    rm -f "$place/$1/vmlinuz" "$place/$1/initrd" "$place/$1/config-$1"
    [ ! -d "$place/$1" ] || rmdir "$place/$1" || exit
    rmdir "$place" 2>/dev/null  # where it is the last
    rm -rf /lib/modules/.page-alloc-bench
    if own "$1"; then mv "/lib/modules/$1" /lib/modules/.page-alloc-bench || exit; fi
    rm -rf /lib/modules/.page-alloc-bench
}}
"""
# The host's own tool makes the initramfs: it knows what the host needs to find its root.
# mkinitramfs reads /boot/config-RELEASE, so it gets a /boot of its own.
_INITRD = """
if command -v mkinitramfs >/dev/null; then
    unshare -m sh -c 'mount --bind "$1" /boot && mkinitramfs -o /boot/initrd "$2"' \
        sh "$place/$release" "$release"
elif command -v dracut >/dev/null; then dracut --force "$place/$release/initrd" "$release"
else echo "neither mkinitramfs nor dracut is there" >&2; false
fi || exit
[ -s "$place/$release/initrd" ] || exit
"""


@dataclass(frozen=True)
class Package:
    """A kernel to install.

    config: the text of its configuration. modules: its lib/modules/RELEASE. make: the command that
    installs the modules of a built tree, where they are nowhere yet.
    """

    release: str
    image: Path
    config: str
    modules: Path = Path()
    make: tuple[str, ...] = ()

    @property
    def installed(self) -> HostKernel:
        """Return where it will be on the host."""
        place = f"{PLACE}/{self.release}"
        version = bootable.version(self.image)
        return HostKernel(self.release, f"{place}/vmlinuz", f"{place}/initrd", version)

    def tree(self, stage: Path) -> Path:
        """Return its modules, which go to the directory STAGE if they are nowhere yet.

        Raises TargetError where make fails.
        """
        if not self.make:
            return self.modules
        run([*self.make, f"INSTALL_MOD_PATH={stage}", "modules_install"], env=environment())
        return stage / "lib/modules" / self.release

    def digest(self, modules: Path) -> str:
        """Return what tells it, with these modules, from another of this release."""
        whole = hashlib.sha256(self.image.read_bytes())
        for path in sorted(modules.rglob("*.ko*")):
            whole.update(f"\n{path.relative_to(modules)}\n".encode())
            whole.update(path.read_bytes())
        return whole.hexdigest()


def package(kernel: Bootable) -> Package:
    """Return a kernel as it can be installed. Raises UsageError for one without modules."""
    place = kernel.boots.modules.place
    beside = kernel.image.parent / f"config-{kernel.release}"
    if beside.is_file():
        config = beside.read_text(errors="replace")
    else:
        options = (kernel.boots.config or {}).items()
        config = "".join(f"CONFIG_{name}={value}\n" for name, value in options)
    if is_tree(place):
        return Package(kernel.release, kernel.image, config, make=_make(kernel))
    if not (place / "kernel").is_dir():
        raise UsageError(f"{kernel.image}: its modules are not found: give its built tree")
    return Package(kernel.release, kernel.image, config, place)


def _make(kernel: Bootable) -> tuple[str, ...]:
    request = kernel.source()
    given = {"LLVM": request.llvm, "CROSS_COMPILE": request.cross_compile, "CC": request.cc}
    words = [f"{name}={value}" for name, value in given.items() if value]
    # depmod is run where it is installed.
    words += [f"ARCH={_ARCH[kernel.arch]}", "INSTALL_MOD_STRIP=1", "DEPMOD=true"]
    return (need("make", "make"), "-s", "-C", str(request.kdir), *words)


def require_new(shell: Shell, wanted: Collection[Package]) -> None:
    """Raise UsageError for packages that would replace one another, or what is the host's own."""
    for release in {each.release for each in wanted}:
        if len({each.image for each in wanted if each.release == release}) > 1:
            raise UsageError(
                f"both kernels are called {release}, and a host can have one of a name: build one "
                "with another LOCALVERSION"
            )
        there = shlex.quote(f"/lib/modules/{release}")
        if shell.run(f"{_SHELL}[ ! -e {there} ] || own {shlex.quote(release)}").code:
            raise UsageError(
                f"{shell.host} has a kernel {release} of its own, or its modules: name that by its "
                "release, or build this one with another LOCALVERSION"
            )


def install(shell: Shell, wanted: Package, note: Callable[[str], object]) -> None:
    """Put a kernel on the host unless it is there. Raises UsageError and TargetError."""
    require_new(shell, [wanted])
    with Kept("modules") as stage:
        _install(shell, wanted, wanted.tree(stage), note)


def _install(shell: Shell, wanted: Package, modules: Path, note: Callable[[str], object]) -> None:
    names = f"{_SHELL}release={shlex.quote(wanted.release)}\nmark=/lib/modules/$release/"
    names += "page-alloc-bench\n"
    digest = wanted.digest(modules)
    if checked(shell, f'{names}cat "$mark" 2>/dev/null || true', "to look for it") == digest:
        return
    note(f"{shell.host}: installing {wanted.release}")
    what = f"to make room for {wanted.release}"
    checked(shell, f'{names}drop "$release"; claim "$release"', what, timeout=_LONG_S)
    try:
        shell.unpack(modules, f"/lib/modules/{wanted.release}")
        shell.put(wanted.image, wanted.installed.image)
        config = f'cat >"$place/$release/config-$release" <<"END"\n{wanted.config}END\n'
        checked(shell, names + config, f"to copy the configuration of {wanted.release}")
        finish = f'depmod "$release" || exit\n{_INITRD}printf %s {digest} >"$mark" && sync'
        what = f"to make the initramfs of {wanted.release}"
        checked(shell, names + finish, what, timeout=_LONG_S)
    except TargetError:
        shell.run(f'{names}drop "$release"', timeout=_LONG_S)
        raise


def uninstall(shell: Shell) -> list[str]:
    """Remove all kernels of ours from the host; return their releases.

    Raises UsageError while one of them runs, TargetError where they cannot be removed.
    """
    every = 'for at in "$place"/* /lib/modules/*; do echo "${at##*/}"; done | sort -u'
    ours = f'{every} | while read -r each; do [ -d "$place/$each" ] || own "$each" && echo "$each"'
    what = "to look for kernels of ours"
    found = checked(shell, f"{_SHELL}{ours}; done; true", what).splitlines()
    running = checked(shell, "uname -r", "to ask what runs").strip()
    if running in found:
        raise UsageError(f"{shell.host} runs {running}, which is to be removed: restart it first")
    drops = "".join(f"drop {shlex.quote(release)}\n" for release in found)
    end = '[ ! -d "$place" ] || rmdir "$place" || exit\nrm -rf /lib/modules/.page-alloc-bench; sync'
    checked(shell, f"{_SHELL}{drops}{end}", "to remove kernels of ours", timeout=_LONG_S)
    return found
