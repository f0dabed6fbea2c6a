# SPDX-License-Identifier: GPL-2.0-only
"""The sides of `ab --host`: releases that are installed there, and kernels that are built here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page_alloc_bench.campaign.build_cache import Built
from page_alloc_bench.cli import ab_kernels, ab_revisions, ab_timed
from page_alloc_bench.runner.bundle_file.archive import Archive
from page_alloc_bench.runner.kernel import build_identity
from page_alloc_bench.runner.kernel.build_identity import Identity
from page_alloc_bench.runner.preflight.loading import OtherBuild
from page_alloc_bench.targets import bench_options, bootable, kernel_bundle
from page_alloc_bench.targets.host import install
from page_alloc_bench.targets.host.facts import Facts, HostKernel
from page_alloc_bench.targets.host.install import Package
from page_alloc_bench.targets.process import UsageError

_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Chosen:
    """A side's kernel, how it is there, and its bundle.

    bundle: returns its path, and builds it if need be. about: what a plan says of it. package: what
    is to be installed first, None for a kernel of the host's own.
    """

    kernel: HostKernel
    called: str
    words: str
    bundle: Callable[[], Path]
    about: Mapping[str, Any]
    package: Package | None = None

    def build(self, bundle: Path, machine: str) -> Identity:
        """Return which build of its release must come up, by the image and the bundle's module."""
        made_for = _made_for(bundle, self.kernel.release, machine)
        version = self.kernel.version or made_for["version"]
        if made_for["version"] in (None, version):
            return {**made_for, "version": version}
        # The module is of another one, and the user has said that this is accepted.
        return {"build_id": None, "version": version, "config": None}

    @property
    def label(self) -> str:
        """Return what people call it."""
        return f"{self.called}, {self.words}" if self.words else self.called


def check(options: Mapping[str, Any]) -> None:
    """Raise UsageError where --base and --new do not name two kernels."""
    if options["tree"]:
        raise UsageError("--tree is of revisions: give two of them instead of --base and --new")
    ab_timed.names(options)


def named(directory: Path, facts: Facts, options: Mapping[str, Any]) -> dict[str, Chosen]:
    """Return the kernels that --base and --new name. DIRECTORY gets what is built for them.

    Raises UsageError and TargetError.
    """
    found_bundles = bundles(options["bundles"])
    words = words_of(options)
    found = {}
    for side, name in ab_timed.names(options).items():
        there = facts.kernels.get(name)
        if there is not None:
            found[side] = _installed(there, facts["machine"], found_bundles, words[side])
            _require_build(found[side], facts["machine"], options["bench_options"])
        else:
            found[side] = _from_here(directory, name, facts, words[side])
    return found


def words_of(options: Mapping[str, Any]) -> dict[str, str]:
    """Return what each side's command line has besides."""
    new = "cmdline_base" if options["aa"] else "cmdline_new"
    return {"base": options["cmdline_base"], "new": options[new]}


def _installed(kernel: HostKernel, machine: str, bundles: Mapping[str, Path], words: str) -> Chosen:
    release = kernel.release
    bundle = bundles.get(f"{release} {machine}")
    if bundle is None:
        raise UsageError(
            f"no bundle has a module for {release}: give --bundles DIR with one; "
            f"`page-alloc-bench build --kdir /lib/modules/{release}/build` makes it where the "
            "headers are"
        )
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    about = {"release": release, "version": kernel.version, "bundle": digest}
    return Chosen(kernel, release, words, _there(bundle), about)


def _require_build(chosen: Chosen, machine: str, words: Sequence[str]) -> None:
    """Raise UsageError for a bundle that cannot be of the kernel which the host has."""
    bundle, kernel = chosen.bundle(), chosen.kernel
    version = _made_for(bundle, kernel.release, machine)["version"]
    accepted = bench_options.accepts(OtherBuild.name, words)
    if kernel.version and version and version != kernel.version and not accepted:
        raise UsageError(
            f"{bundle} is for another build of {kernel.release}: uname -v of that is {version}, "
            f"and the host's image says {kernel.version}; build one with `page-alloc-bench build "
            f"--kdir /lib/modules/{kernel.release}/build` where the headers of this one are"
        )


def _made_for(bundle: Path, release: str, machine: str) -> Identity:
    """Return which build of a kernel the module is for that a bundle has for it."""
    return build_identity.of_entry(Archive(bundle).entry(release, machine))


def _there(bundle: Path) -> Callable[[], Path]:
    return lambda: bundle


def bundles(place: Path | None) -> dict[str, Path]:
    """Return what --bundles names, by the kernel. Raises UsageError."""
    from page_alloc_bench.fleet import bundles as by_manifest
    from page_alloc_bench.fleet.outcome import FleetError

    try:
        return by_manifest.by_kernel(place) if place else {}
    except FleetError as error:
        raise UsageError(f"--bundles: {error}") from error


def _from_here(directory: Path, name: str, facts: Facts, words: str) -> Chosen:
    """Return a kernel of the list, of a built tree, or an image."""
    try:
        found = bootable.named(name)
    except UsageError as error:
        there = ", ".join(sorted(facts.kernels)) or "none"
        raise UsageError(
            f"{name!r} is not in /boot of the host with its modules in /lib/modules (there are: "
            f"{there}); here, {error}"
        ) from error
    _require_arch(found.label, found.arch, facts)
    package = install.package(found)

    def bundle() -> Path:
        place = directory / f"bundle-{found.release}.run"
        if not place.exists():
            kernel_bundle.build(found, place)
        return place

    about = ab_kernels.identity(found)
    return Chosen(package.installed, found.label, words, bundle, about, package)


def revisions(
    built: Mapping[str, Built], facts: Facts, options: Mapping[str, Any]
) -> dict[str, Chosen]:
    """Return revisions of a git tree, which were built here, by the side. Raises UsageError."""
    words = words_of(options)
    found = {}
    for side, kernel in built.items():
        _require_arch(kernel.label, kernel.arch, facts)
        modules = kernel.directory / "modules/lib/modules" / kernel.release
        package = Package(kernel.release, kernel.image, kernel.config, modules)
        about = ab_revisions.timed(kernel).identity
        found[side] = Chosen(
            package.installed, kernel.label, words[side], _there(kernel.bundle), about, package
        )
    return found


def _require_arch(label: str, arch: str, facts: Facts) -> None:
    machine = facts["machine"]
    if arch != _ARCH.get(machine):
        raise UsageError(f"{label} is for {arch}, and the host is {machine}")
