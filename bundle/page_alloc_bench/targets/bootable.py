# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that a user names: one of the list, a built tree, or an image; and whether it can boot.

Everything that can be told before the boot is told before the boot.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.packager.build import TreeRequest
from page_alloc_bench.packager.signing import Signer
from page_alloc_bench.packager.tree import CROSS_PREFIX
from page_alloc_bench.runner.kernel import build_identity
from page_alloc_bench.runner.kernel.build_identity import Identity
from page_alloc_bench.targets import building, fitted, kconfig, kernels, modules
from page_alloc_bench.targets.appliance import HOST
from page_alloc_bench.targets.fitted import Fitted
from page_alloc_bench.targets.process import UsageError

_IMAGES = {
    "amd64": ("arch/x86/boot/bzImage", "arch/x86_64/boot/bzImage"),
    "arm64": ("arch/arm64/boot/Image", "arch/arm64/boot/Image.gz"),
}
_GZIP = b"\x1f\x8b"
_SRCARCH = {"amd64": "x86", "arm64": "arm64"}
_KBUILD = {"x86": "amd64", "x86_64": "amd64", "arm64": "arm64"}
_MERGE = (
    "append this to the configuration, and build it again (scripts/kconfig/merge_config.sh -m "
    ".config FRAGMENT && make olddefconfig):"
)


@dataclass(frozen=True)
class Bootable:
    """A kernel that a guest can boot.

    label: what people read. boots: the kernel, and the devices that it can drive. request: what the
    packager is asked for, to build for it; None where there is nothing to build with. signer: of
    its modules, where it takes none without a signature. poorer: what it lacks that a run can do
    without. of_list: its name there, if it is one of the list, whose build never changes. tree:
    where it was built, if that is known.
    """

    label: str
    boots: Fitted
    request: TreeRequest | None
    signer: Signer | None = None
    poorer: tuple[kconfig.Need, ...] = ()
    of_list: str = ""
    tree: Path | None = None

    @property
    def arch(self) -> str:
        """Debian's name of its architecture."""
        return self.boots.arch

    @property
    def release(self) -> str:
        """What ``uname -r`` will say."""
        return self.boots.release

    @property
    def image(self) -> Path:
        """The file to boot."""
        return self.boots.image

    def build(self) -> Identity:
        """Return which build of its release it is, as far as its tree and its image tell."""
        known = build_identity.of_tree(str(self.tree)) if self.tree else {}
        found = {name: known.get(name) for name in build_identity.WORDS}
        return {**found, "version": version(self.image) or found["version"]}

    def source(self) -> TreeRequest:
        """Return what to build for it with; raises UsageError where there is nothing."""
        if self.request is None:
            raise UsageError(
                f"{self.image}: no module can be built for it: it is in no kernel tree, and "
                f"there are no headers in {_headers(self.release)}; give its tree instead"
            )
        return self.request


def find(text: str) -> Bootable:
    """Return the kernel that TEXT names, for a guest with two serial ports alone.

    Raises what named() does, and UsageError for one that cannot boot there, with what to do.
    """
    found = named(text)
    require_serial(found)
    return found


def named(text: str) -> Bootable:
    """Return the kernel that TEXT names: one of the list, a built tree, or an image.

    One of the list is fetched into the cache first if need be. Raises UsageError for what there is
    not, with what to do, and TargetError where a kernel cannot be fetched.
    """
    names = [row.name for row in (*kernels.KERNELS, kernels.SANITIZER)]
    path = Path(text).expanduser()
    if text in names:
        return of_list(text)
    if not path.is_dir() and not path.is_file():
        raise UsageError(
            f"{text!r} is neither a kernel of the list ({', '.join(names)}), nor a built tree, nor "
            "an image"
        )
    found = of_tree(path) if path.is_dir() else of_image(path)
    found.source()
    return found


def require_serial(kernel: Bootable) -> None:
    """Raise UsageError, with what mends it, where KERNEL lacks what a second serial port needs."""
    _require(kernel.boots.config or {}, kernel.arch, kconfig.SERIAL, kernel.image)


def is_tree(directory: Path) -> bool:
    """Return whether DIRECTORY looks like a kernel tree in which a kernel has been built."""
    return all((directory / name).is_file() for name in (".config", "include/config/auto.conf"))


def of_list(name: str, *, to_build: bool = True) -> Bootable:
    """Return the kernel NAME of the list, fetched into the cache first if need be.

    With TO_BUILD also what a bundle for it is built with.
    """
    fetched = kernels.fetch(name)
    return Bootable(
        label=f"{fetched.release} ({name} of the list)",
        boots=fitted.of_fetched(fetched),
        request=building.tree_request(fetched) if to_build else None,
        of_list=name,
    )


def of_image(image: Path, directory: Path | None = None) -> Bootable:
    """Return the kernel of an IMAGE: in its tree, or installed.

    DIRECTORY has its modules, as lib/modules/RELEASE; by default where they are installed with it.
    Raises UsageError for a file that is not an image, and for one that cannot boot.
    """
    resolved = image.resolve()
    for paths in _IMAGES.values():
        for path in paths:
            top = resolved.parents[len(Path(path).parts) - 1 :][:1]
            in_tree = resolved.parts[-len(Path(path).parts) :] == Path(path).parts
            if in_tree and directory is None and (top[0] / ".config").is_file():
                return of_tree(top[0])
    arch = _arch_of(image)
    release = (banner(image) or "").partition(" ")[0]
    if directory is None and release:
        directory = _modules_of(image, release)
    those = modules.UNKNOWN
    if directory is not None and directory.is_dir():
        those = modules.installed(directory)
        release = release or directory.resolve().name
    release = release or image.name
    config = _config_of(image, release, directory)
    _require(config or {}, arch, kconfig.NEEDED if config else (), image)
    headers = _headers(release)
    return Bootable(
        label=f"{release} ({image})",
        boots=fitted.fit(release, arch, image, those, config),
        request=_request(headers, arch, config or {}) if headers.is_dir() else None,
    )


def _modules_of(image: Path, release: str) -> Path:
    """Return where an installed kernel has its modules: beside it, or where it boots."""
    beside = image.resolve().parent
    tops = (beside.parent, beside.parent / "usr", Path("/"))
    places = (beside, *(top / "lib/modules" / release for top in tops))
    return next((place for place in places if (place / "kernel").is_dir()), places[-1])


def _headers(release: str) -> Path:
    return Path("/lib/modules") / release / "build"


def _config_of(image: Path, release: str, directory: Path | None) -> dict[str, str] | None:
    """Return the options of an installed kernel, from where distributions keep them."""
    places = [image.parent / f"config-{release}"]
    if directory is not None:
        places += [directory / "config", directory / "build/.config"]
    for place in places:
        if place.is_file():
            return kconfig.read(place.read_text(errors="replace"))
    return None


def of_tree(tree: Path) -> Bootable:
    """Return the kernel that has been built in TREE, a source tree or an O= directory."""
    tree = tree.resolve()
    config_file = tree / ".config"
    if not config_file.is_file():
        raise UsageError(f"{tree} is not a built kernel tree: it has no .config")
    text = config_file.read_text(errors="replace")
    arch = _arch(tree, text)
    config = kconfig.read(text)
    _require(config, arch, kconfig.NEEDED, tree)
    release = _release(tree)
    image = _image(tree, arch)
    _require_fresh(tree, image, release, config)
    forced = config.get("MODULE_SIG_FORCE") == "y"
    return Bootable(
        label=f"{release} ({tree})",
        boots=fitted.fit(release, arch, image, modules.of_tree(tree, signed_only=forced), config),
        request=_request(tree, arch, config),
        signer=_signer(tree) if forced else None,
        poorer=tuple(kconfig.lacking(config, arch, kconfig.WANTED)),
        tree=tree,
    )


def _require(
    config: Mapping[str, str], arch: str, needs: tuple[kconfig.Need, ...], what: Path
) -> None:
    """Raise UsageError where a kernel with CONFIG lacks what a run needs, with what mends it."""
    needed = kconfig.lacking(config, arch, needs) if config else []
    if needed:
        names = ", ".join(need.symbol for need in needed)
        raise UsageError(
            f"the kernel of {what} cannot run the benchmark in a guest: it lacks {names}; "
            f"{_MERGE}\n{kconfig.fragment(needed)}"
        )


def _request(tree: Path, arch: str, config: Mapping[str, str]) -> TreeRequest:
    """Return how to build for TREE: with the compiler that built it, as the environment says."""
    llvm, cross, cc = (os.environ.get(name) or None for name in ("LLVM", "CROSS_COMPILE", "CC"))
    named = {"llvm": llvm, "cross_compile": cross, "cc": cc}
    if config.get("CC_IS_CLANG") == "y" and not cc:
        llvm = llvm or "1"
    elif arch != HOST and not llvm:
        cross = cross or CROSS_PREFIX[_SRCARCH[arch]]
    said = tuple(name for name, value in named.items() if value)
    return TreeRequest(tree, llvm=llvm, cross_compile=cross, cc=cc, from_environment=said)


def _arch(tree: Path, config: str) -> str:
    found = re.search(r"Linux/(\w+) \S+ Kernel Configuration", config[:4096])
    arch = _KBUILD.get(found[1] if found else "", "")
    if not arch:
        what = found[1] if found else "no architecture that it names"
        raise UsageError(f"{tree} is for {what}: a guest can be {' or '.join(_IMAGES)}")
    return arch


def _release(tree: Path) -> str:
    path = tree / "include/config/kernel.release"
    if not path.is_file():
        raise UsageError(f"{tree} is not built: it has no {path.relative_to(tree)}; run make there")
    return path.read_text().strip()


def _image(tree: Path, arch: str) -> Path:
    for name in _IMAGES[arch]:
        if (tree / name).is_file():
            return (tree / name).resolve()
    raise UsageError(
        f"{tree} has no image {_IMAGES[arch][0]}: run make {Path(_IMAGES[arch][0]).name} there"
    )


def _require_fresh(tree: Path, image: Path, release: str, config: Mapping[str, str]) -> None:
    """Raise UsageError for an image of another state of the tree."""
    said = banner(image)
    again = f"run make {image.name} modules in {tree}"
    if said is not None and said.partition(" ")[0] != release:
        raise UsageError(
            f"{image} is stale: it is {said.partition(' ')[0]}, and the tree is {release}; {again}"
        )
    vmlinux = tree / "vmlinux"
    if vmlinux.is_file() and vmlinux.stat().st_mtime > image.stat().st_mtime + 1:
        raise UsageError(f"{image} is stale: {vmlinux} is newer; {again}")
    built = tree / "include/config/auto.conf"
    if built.is_file():
        before = kconfig.read(built.read_text(errors="replace"))
        changed = [
            name for name in {**before, **config} if _value(before, name) != _value(config, name)
        ]
        if changed:
            raise UsageError(
                f"{image} is stale: the configuration has changed since it was built "
                f"({_some(sorted(changed))}); {again}"
            )


def _value(config: Mapping[str, str], name: str) -> str:
    """Return a value as auto.conf has it: without what is off or empty, and quotes."""
    value = config.get(name, "n").strip('"')
    return re.sub(r"\\(.)", r"\1", value) or "n"


def _some(names: Iterable[str]) -> str:
    first, *rest = names
    return f"{first} and {len(rest)} more" if rest else first


def _arch_of(image: Path) -> str:
    """Return Debian's name of the architecture that IMAGE is for; raises UsageError if none is."""
    with image.open("rb") as file:
        head = file.read(0x240)
    if head[:2] == _GZIP:
        with gzip.open(image) as unpacked:
            head = unpacked.read(0x240)
    # Documentation/arch/arm64/booting.rst: magic. Documentation/arch/x86/boot.rst: xloadflags.
    if head[0x38:0x3C] == b"ARM\x64":
        return "arm64"
    if head[0x202:0x206] == b"HdrS":
        if head[0x236] & 1:
            return "amd64"
        raise UsageError(f"{image} has 32 bits: a guest has 64")
    what = "an ELF file, perhaps a vmlinux" if head[:4] == b"\x7fELF" else "not an image of those"
    wanted = ", ".join(Path(paths[0]).name + f" ({arch})" for arch, paths in _IMAGES.items())
    raise UsageError(f"{image} is {what}: a guest boots {wanted}")


def banner(image: Path) -> str | None:
    """Return what an image says of itself, such as "6.1.0 (user@host) #1 SMP ..."; None if nothing.

    Documentation/arch/x86/boot.rst: kernel_version, after the magic HdrS. Elsewhere what is not
    compressed within has linux_banner, init/version-timestamp.c; and that of init/version.c, which
    has no number of the build.
    """
    with image.open("rb") as file:
        head = file.read(0x210)
        if head[0x202:0x206] == b"HdrS":
            file.seek(int.from_bytes(head[0x20E:0x210], "little") + 0x200)
            return file.read(256).partition(b"\0")[0].decode(errors="replace")
    content = gzip.decompress(image.read_bytes()) if head[:2] == _GZIP else image.read_bytes()
    found = re.findall(rb"Linux version (\d[^\0\n]{0,255})", content)
    found.sort(key=lambda each: not re.search(rb"#\d", each))
    return found[0].decode(errors="replace") if found else None


def version(image: Path) -> str:
    """Return what `uname -v` will say in the kernel of an image, "" where that does not tell."""
    found = re.search(r"#\d.*", banner(image) or "")
    return found[0] if found else ""


def _signer(tree: Path) -> Signer:
    key, certificate = tree / "certs/signing_key.pem", tree / "certs/signing_key.x509"
    if not key.is_file() or not certificate.is_file():
        raise UsageError(
            f"the kernel of {tree} takes signed modules only (MODULE_SIG_FORCE), and its key is "
            f"not in {key}: put the key there, or build it without MODULE_SIG_FORCE"
        )
    return Signer(str(key), certificate)
