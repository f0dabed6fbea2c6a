# SPDX-License-Identifier: GPL-2.0-only
"""The one list of kernels, for the VM, the tests and the support matrix; how to get them.

A new kernel is one more line in KERNELS. Each is the newest build that its suites carry on the day
it is first fetched; from then on the cached one is used, without any network.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.space import Room
from page_alloc_bench.targets import cache, source_kernel
from page_alloc_bench.targets.apt import PrivateApt
from page_alloc_bench.targets.process import TargetError

_BUILD_ARCH = "amd64"
# While it is fetched: the lists of a suite or two, the packages, and what is in them.
_CLOUD_ROOM, _ROOM = Room(400, 20_000), Room(800, 30_000)
_PARTS = re.compile(r"linux-(image|binary|modules|base|headers|kbuild)-.")


@dataclass(frozen=True)
class Kernel:
    """A Debian kernel that this project supports.

    ``name`` is what people type; ``suites`` are searched together and the newest build wins; the
    packages are those of ``flavour`` for ``arch`` (Debian's name of it).

    ``root`` is the guest root that it runs on in the matrix, so that each root's own Python has its
    turn; None is a guest that has a static busybox and nothing else (appliance.py).

    ``cc`` builds modules for it where its tree names a compiler that is not here. With
    ``build_root`` they are built in the build root: its headers' tools need a newer C library than
    bookworm's, or its modules a compiler that is not this host's.

    ``page_bytes`` is the size of a page of order 0.

    A row with ``config`` is built from Debian's source instead (source_kernel.py): the names of the
    fragments of its configuration, and words for make's command line.
    """

    name: str
    suites: tuple[str, ...]
    flavour: str = "cloud-amd64"
    arch: str = "amd64"
    root: str | None = None
    cc: str | None = None
    build_root: bool = False
    notes: str = ""
    config: tuple[str, ...] = ()
    make: tuple[str, ...] = ()
    page_bytes: int = 4096

    @property
    def numa(self) -> bool:
        """Whether it knows NUMA nodes: all do but those that are configured not to."""
        return "nonuma" not in self.config

    @property
    def boots_roots(self) -> bool:
        """Whether Guest can boot it: the roots are amd64's, and want ext4 and a network."""
        return self.arch == "amd64" and (not self.config or "guest" in self.config)


# In the order in which the tests of the matrix run: what differs most comes first.
KERNELS = (
    Kernel("6.1", ("bookworm", "bookworm-security"), root="bookworm", notes="the default"),
    Kernel("5.10", ("bullseye-security",), root="bullseye", cc="gcc", notes="the oldest supported"),
    Kernel("7.3", ("trixie-backports",), root="sid", build_root=True, notes="the newest"),
    Kernel(
        "6.12-arm64",
        ("trixie", "trixie-security"),
        "cloud-arm64",
        "arm64",
        build_root=True,
        notes="cross-built",
    ),
    Kernel(
        "6.1-rt", ("bookworm", "bookworm-security"), "rt-amd64", root="bookworm", notes="PREEMPT_RT"
    ),
    Kernel("6.12", ("bookworm-backports",), root="trixie", notes="keeps the TSC under TCG"),
    Kernel("7.2", ("sid",), root="sid", build_root=True),
    Kernel(
        "6.1-arm64",
        ("bookworm", "bookworm-security"),
        "cloud-arm64",
        "arm64",
        build_root=True,
        notes="cross-built",
    ),
    Kernel(
        "6.12-nonuma",
        ("trixie", "trixie-security"),
        build_root=True,
        config=("small", "virtio", "base", "nonuma"),
        notes="without CONFIG_NUMA; its modules are signed with its own key",
    ),
    Kernel(
        "6.12-clang",
        ("trixie", "trixie-security"),
        build_root=True,
        config=("small", "virtio", "base", "numa"),
        make=("LLVM=1",),
        notes="built by clang; its modules are signed with its own key",
    ),
    Kernel(
        "6.12-thinlto",
        ("trixie", "trixie-security"),
        build_root=True,
        config=("small", "virtio", "base", "numa", "thinlto"),
        make=("LLVM=1",),
        notes="built by clang with ThinLTO and CFI; CONFIG_MODVERSIONS",
    ),
    Kernel(
        "6.12-arm64-16k",
        ("trixie", "trixie-security"),
        "arm64-16k",
        "arm64",
        build_root=True,
        notes="pages of 16 KiB, huge ones of 32 MiB; cross-built",
        page_bytes=16384,
    ),
)
# Made only when it is asked for by name, and no row of the matrix: it is slow and made to complain.
SANITIZER = Kernel(
    "6.12-debug",
    ("trixie", "trixie-security"),
    root="bookworm",
    build_root=True,
    config=("small", "virtio", "base", "numa", "guest", "debug"),
    notes="KASAN, lockdep, kmemleak, UBSAN and more; for scripts/sanitize",
)
# Built twice under one release, for the tests of what tells builds apart: the quickest to build.
REBUILT = Kernel(
    "6.12-rebuilt",
    ("trixie", "trixie-security"),
    build_root=True,
    config=("small", "virtio"),
    notes="for the tests",
)
# What a user's own kernel may look like: one without a device that is made for guests.
OWN = Kernel(
    "6.12-own",
    ("trixie", "trixie-security"),
    build_root=True,
    config=("small", "pc"),
    notes="for the tests",
)
DEFAULT = "6.1"


@dataclass(frozen=True)
class FetchedKernel:
    """A kernel in the cache: all that is needed to boot it and to build modules for it.

    ``release`` is what ``uname -r`` will say; ``modules_dir`` is its ``lib/modules/RELEASE``;
    ``kdir`` is for ``make -C kmod KDIR=…``, together with ``kernel.cc``.
    """

    kernel: Kernel
    release: str
    vmlinuz: Path
    modules_dir: Path
    kdir: Path

    @property
    def trees(self) -> tuple[Path, ...]:
        """Return the directories that a build root must see to build modules for it."""
        if self.kernel.config:
            return (self.kdir, source_kernel.source_of(self.kernel))
        return (self.kdir.parents[2],)


def lookup(name: str) -> Kernel:
    """Return the row called NAME; the error lists the names there are."""
    rows = (*KERNELS, SANITIZER)
    for kernel in rows:
        if kernel.name == name:
            return kernel
    known = ", ".join(kernel.name for kernel in rows)
    raise TargetError(f"no kernel called {name!r}: there are {known}")


def cached(kernel: Kernel) -> bool:
    """Return whether fetch() would find KERNEL in the cache."""
    key = source_kernel.key(kernel) if kernel.config else _key(kernel)
    return cache.has("kernels", key)


def fetch(kernel: Kernel | str = DEFAULT, *, refresh: bool = False) -> FetchedKernel:
    """Return KERNEL (a row or its name) from the cache, fetched into it first if need be.

    With REFRESH the newest build of today is fetched in any case.

    Raises TargetError with the cause and what to do when it cannot be fetched.
    """
    row = lookup(kernel) if isinstance(kernel, str) else kernel
    make = source_kernel.build if row.config else _fetch_packages
    root = make(row, refresh=refresh)
    about = json.loads((root / "kernel.json").read_text())
    return FetchedKernel(
        row, about["release"], *(root / about[key] for key in ("vmlinuz", "modules_dir", "kdir"))
    )


def _fetch_packages(kernel: Kernel, *, refresh: bool = False) -> Path:
    """Return the cached directory of KERNEL as Debian packs it, fetched first if need be."""
    suites = ", ".join(kernel.suites)
    return cache.entry(
        "kernels",
        _key(kernel),
        lambda temporary, final: build_entry(kernel, temporary, final),
        f"Debian's kernel {kernel.name} ({kernel.flavour}, {suites})",
        room=_CLOUD_ROOM if kernel.flavour.startswith("cloud-") else _ROOM,
        refresh=refresh,
    )


def _key(kernel: Kernel) -> str:
    digest = cache.digest(kernel.name, *kernel.suites, kernel.flavour, kernel.arch)
    return f"{kernel.name}-{digest}"


def build_entry(kernel: Kernel, temporary: Path, final: Path) -> None:
    """Fill TEMPORARY, which will become FINAL, with image, headers and kbuild of KERNEL."""
    apt_dir = temporary / "apt"
    apt = PrivateApt(apt_dir / kernel.arch, kernel.suites, kernel.arch)
    apt.update()
    # The two packages that name the newest build are empty themselves and not worth a download.
    wanted = apt.depends(f"linux-image-{kernel.flavour}")
    wanted += apt.depends(f"linux-headers-{kernel.flavour}")
    wanted = [name for name in wanted if _PARTS.match(name)]
    packages: set[str] = set()
    while wanted:
        name = wanted.pop()
        packages.add(name)
        wanted += [dep for dep in apt.depends(name) if _PARTS.match(dep) and dep not in packages]
    kbuild = {name for name in packages if name.startswith("linux-kbuild-")}
    apt.extract(sorted(packages - kbuild), temporary)
    # The programs that build modules are to run here, not in the guest.
    native = PrivateApt(apt_dir / "native", kernel.suites, _BUILD_ARCH)
    native.update()
    native.extract(sorted(kbuild), temporary)
    shutil.rmtree(apt_dir)
    about = locate(temporary, kernel)
    relocate(temporary, final)
    (temporary / "kernel.json").write_text(json.dumps(about, indent=1))


def locate(root: Path, kernel: Kernel) -> dict[str, str]:
    """Find the parts of the one kernel under ROOT; paths in the answer are relative to ROOT."""
    found = [path for path in root.glob("boot/vmlinu[xz]-*") if path.name.endswith(kernel.flavour)]
    images = {path.name.split("-", 1)[1]: path for path in found}
    # Where it lies since 7.x.
    images |= {path.parent.name: path for path in root.glob("usr/lib/modules/*/vmlinu[xz]")}
    if len(images) != 1:
        raise TargetError(
            f"Debian's packages of kernel {kernel.name} hold {len(images)} images, not one"
        )
    ((release, image),) = images.items()
    modules = [path for path in (root / "lib/modules", root / "usr/lib/modules") if path.is_dir()]
    kdir = root / f"usr/src/linux-headers-{release}"
    if not modules or not (modules[0] / release).is_dir() or not (kdir / "Makefile").is_file():
        raise TargetError(f"Debian's packages of kernel {release} lack its modules or its headers")
    return {
        "release": release,
        "vmlinuz": str(image.relative_to(root)),
        "modules_dir": str((modules[0] / release).relative_to(root)),
        "kdir": str(kdir.relative_to(root)),
    }


def relocate(root: Path, final: Path) -> None:
    """Make the headers under ROOT name FINAL where they name the places they would install to."""
    pattern = re.compile(r"(?<![\w./])(/usr/(?:src/linux-|lib/linux-kbuild-))")
    for headers in root.glob("usr/src/linux-headers-*"):
        for path in [headers / "Makefile", headers / ".kernelvariables"]:
            if path.is_file() and not path.is_symlink():
                path.write_text(pattern.sub(rf"{final}\1", path.read_text()))
        for link in headers.iterdir():
            if link.is_symlink() and str(link.readlink()).startswith("/usr/"):
                target = f"{final}{link.readlink()}"
                link.unlink()
                link.symlink_to(target)
