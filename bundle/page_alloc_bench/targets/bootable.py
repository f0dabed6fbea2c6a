# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that a user names: one of the list, a built tree, or an image; and whether it can boot.

Everything that can be told before the boot is told before the boot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from page_alloc_bench.packager.build import TreeRequest
from page_alloc_bench.packager.signing import Signer
from page_alloc_bench.targets import building, kconfig, kernels
from page_alloc_bench.targets.process import UsageError

_IMAGES = {
    "amd64": ("arch/x86/boot/bzImage", "arch/x86_64/boot/bzImage"),
    "arm64": ("arch/arm64/boot/Image", "arch/arm64/boot/Image.gz"),
}
_KBUILD = {"x86": "amd64", "x86_64": "amd64", "arm64": "arm64"}
_MERGE = (
    "append this to the configuration, and build it again (scripts/kconfig/merge_config.sh -m "
    ".config FRAGMENT && make olddefconfig):"
)


@dataclass(frozen=True)
class Bootable:
    """A kernel that a guest with two serial ports can boot.

    label: what people read. arch: Debian's name of it. request: what the packager is asked for, to
    build for it. signer: of its modules, where it takes none without a signature. poorer: what it
    lacks that a run can do without.
    """

    label: str
    arch: str
    release: str
    image: Path
    request: TreeRequest
    signer: Signer | None = None
    poorer: tuple[kconfig.Need, ...] = ()


def find(text: str) -> Bootable:
    """Return the kernel that TEXT names: one of the list, a built tree, or an image.

    One of the list is fetched into the cache first if need be. Raises UsageError for what there is
    not or what cannot boot, with what to do, and TargetError where a kernel cannot be fetched.
    """
    names = [row.name for row in (*kernels.KERNELS, kernels.SANITIZER)]
    path = Path(text).expanduser()
    if text in names:
        return _of_list(text)
    if path.is_dir():
        return of_tree(path)
    if path.is_file():
        return of_image(path)
    raise UsageError(
        f"{text!r} is neither a kernel of the list ({', '.join(names)}), nor a built tree, nor an "
        "image"
    )


def _of_list(name: str) -> Bootable:
    fetched = kernels.fetch(name)
    return Bootable(
        label=f"{fetched.release} ({name} of the list)",
        arch=fetched.kernel.arch,
        release=fetched.release,
        image=fetched.vmlinuz,
        request=building.tree_request(fetched),
    )


def of_image(image: Path) -> Bootable:
    """Return the kernel of an IMAGE: in its tree, or installed with its headers."""
    resolved = image.resolve()
    for paths in _IMAGES.values():
        for path in paths:
            if resolved.parts[-len(Path(path).parts) :] == Path(path).parts:
                return of_tree(resolved.parents[len(Path(path).parts) - 1])
    release = (banner(image) or "").partition(" ")[0]
    headers = Path("/lib/modules") / release / "build"
    if not release or not headers.is_dir():
        raise UsageError(
            f"{image}: its modules cannot be built: it is in no kernel tree, and there are no "
            f"headers in {headers if release else '/lib/modules'}; give its tree instead"
        )
    arch = "amd64" if banner(image) else "arm64"
    return Bootable(f"{release} ({image})", arch, release, image, TreeRequest(headers))


def of_tree(tree: Path) -> Bootable:
    """Return the kernel that has been built in TREE, a source tree or an O= directory."""
    tree = tree.resolve()
    config_file = tree / ".config"
    if not config_file.is_file():
        raise UsageError(f"{tree} is not a built kernel tree: it has no .config")
    text = config_file.read_text(errors="replace")
    arch = _arch(tree, text)
    config = kconfig.read(text)
    needed = kconfig.lacking(config, arch)
    if needed:
        names = ", ".join(need.symbol for need in needed)
        raise UsageError(
            f"the kernel of {tree} cannot run the benchmark in a guest: it lacks {names}; "
            f"{_MERGE}\n{kconfig.fragment(needed)}"
        )
    release = _release(tree)
    image = _image(tree, arch)
    _require_fresh(tree, image, release)
    made = Bootable(
        label=f"{release} ({tree})",
        arch=arch,
        release=release,
        image=image,
        request=TreeRequest(tree),
        poorer=tuple(kconfig.lacking(config, arch, kconfig.WANTED)),
    )
    return replace(made, signer=_signer(tree)) if config.get("MODULE_SIG_FORCE") == "y" else made


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


def _require_fresh(tree: Path, image: Path, release: str) -> None:
    """Raise UsageError for an image of another state of the tree."""
    said = banner(image)
    again = f"run make {image.name} in {tree}"
    if said is not None and said.partition(" ")[0] != release:
        raise UsageError(
            f"{image} is stale: it is {said.partition(' ')[0]}, and the tree is {release}; {again}"
        )
    vmlinux = tree / "vmlinux"
    if vmlinux.is_file() and vmlinux.stat().st_mtime > image.stat().st_mtime + 1:
        raise UsageError(f"{image} is stale: {vmlinux} is newer; {again}")


def banner(image: Path) -> str | None:
    """Return what an x86 image says of itself, such as "6.1.0 (user@host) #1 SMP ..."; else None.

    Documentation/arch/x86/boot.rst: kernel_version, after the magic HdrS.
    """
    with image.open("rb") as file:
        head = file.read(0x210)
        if head[0x202:0x206] != b"HdrS":
            return None
        file.seek(int.from_bytes(head[0x20E:0x210], "little") + 0x200)
        return file.read(256).partition(b"\0")[0].decode(errors="replace")


def _signer(tree: Path) -> Signer:
    key, certificate = tree / "certs/signing_key.pem", tree / "certs/signing_key.x509"
    if not key.is_file() or not certificate.is_file():
        raise UsageError(
            f"the kernel of {tree} takes signed modules only (MODULE_SIG_FORCE), and its key is "
            f"not in {key}: put the key there, or build it without MODULE_SIG_FORCE"
        )
    return Signer(str(key), certificate)
