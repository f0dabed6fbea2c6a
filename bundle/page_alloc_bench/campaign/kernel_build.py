# SPDX-License-Identifier: GPL-2.0-only
"""From a commit to a kernel that can be booted, and the bundle for it; both kept in the cache.

    builder = Builder(repository, kernel_config.asked("defconfig"), repository.commit("v6.18"))
    built = builder.build(repository.commit("my-branch"))

One directory of objects serves all commits of a configuration, so that the next one compiles only
what has changed. The same tree gives the same kernel, byte for byte.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from page_alloc_bench.campaign import build_cache, kernel_config, kernel_make
from page_alloc_bench.campaign.build_cache import Built, NotBuilt
from page_alloc_bench.campaign.kernel_config import Asked
from page_alloc_bench.campaign.kernel_make import MakeError
from page_alloc_bench.campaign.revisions import Commit, Repository
from page_alloc_bench.campaign.source_copy import SourceCopy
from page_alloc_bench.space import Room
from page_alloc_bench.targets import bootable, cache, kconfig, kernel_bundle
from page_alloc_bench.targets.process import TargetError, UsageError

_IMAGES = {"amd64": "bzImage", "arm64": "Image"}
_ARCH = {"x86_64": "amd64", "x86": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_ENTRY_ROOM = Room(300, 5_000)
_MODULES = "modules"
_MERGE = "scripts/kconfig/merge_config.sh"


class ConfigError(TargetError):
    """A revision cannot be configured; the message is the reason in kconfig's words."""


class Builder:
    """Builds commits of REPOSITORY with the configuration ASKED, JOBS compilers at once.

    FIRST is the commit whose tree makes the base, where that is a target of make. With AGAIN those
    that did not build are built again. Raises TargetError where a tool is missing.
    """

    def __init__(
        self,
        repository: Repository,
        asked: Asked,
        first: Commit,
        *,
        jobs: int | None = None,
        again: bool = False,
        note: Callable[[str], object] = cache.note,
    ) -> None:
        self._repository = repository
        self._asked = asked
        self._first = first
        self._jobs = jobs or os.cpu_count() or 1
        self._again = again
        self._note = note
        self._copy = SourceCopy(repository)
        self.compiler = kernel_make.compiler_version(asked.make)
        given = dict(word.partition("=")[::2] for word in asked.make)
        self.arch = _ARCH.get(given.get("ARCH", os.uname().machine), "")
        if not self.arch:
            raise UsageError(f"a guest can be {' or '.join(_IMAGES)}: give --make ARCH=...")

    def config(self, commit: Commit) -> str:
        """Return the whole configuration of COMMIT. Raises ConfigError and UsageError."""
        if not self._repository.has(commit, _MERGE):
            raise UsageError(
                f"{commit.name} of {self._repository.path} is not the source of a kernel: no "
                f"{_MERGE} there; give --tree the repository of a kernel"
            )
        base = self._base() if self._asked.target else self._asked.base
        return self._configured(commit, base, self._asked.merged(self.arch))

    def build(self, commit: Commit) -> Built | NotBuilt:
        """Return COMMIT as a kernel with its bundle, or why it does not build.

        Raises TargetError where this host cannot build it, UsageError where it could not be booted,
        PackagerError where our module does not build for it.
        """
        try:
            config = self.config(commit)
        except ConfigError as error:
            return NotBuilt(commit, str(error), self._copy.directory / "config.log")
        self._require_bootable(commit, config)
        key = build_cache.key(commit.tree, config, self.compiler, *self._flags(commit))
        final = cache.cache_dir() / build_cache.KIND / key
        again = self._again and final.is_dir() and bool(build_cache.failed(final))
        entry = cache.entry(
            build_cache.KIND,
            key,
            lambda temporary, final: self._build(commit, config, temporary, final),
            f"the kernel of {commit.label}",
            room=_ENTRY_ROOM,
            refresh=again,
        )
        failed = build_cache.failed(entry)
        if failed:
            return NotBuilt(commit, failed, entry / build_cache.LOG)
        bundle = cache.entry(
            build_cache.BUNDLES,
            build_cache.bundle_key(key),
            lambda temporary, _final: self._bundle_again(commit, config, temporary),
            f"the bundle for {commit.label}",
        )
        about = build_cache.about(entry)
        return Built(commit, about["arch"], about["release"], entry, bundle / build_cache.BUNDLE)

    def _require_bootable(self, commit: Commit, config: str) -> None:
        lacking = kconfig.lacking(kconfig.read(config), self.arch, kernel_config.NEEDED)
        if lacking:
            names = ", ".join(f"CONFIG_{need.symbol}" for need in lacking)
            raise UsageError(
                f"{commit.label} could not be booted: with this configuration it lacks {names}, "
                "which --config or --fragment turns off, or which depends on something that is off"
            )

    def _flags(self, commit: Commit) -> list[str]:
        return [*kernel_make.flags(self._asked.make), f"LOCALVERSION=-{commit.short_tree}"]

    def _base(self) -> str:
        """Return the configuration that the target of make gives in the first commit."""
        return self._configured(self._first, self._asked.target, [])

    def _configured(self, commit: Commit, base: str, fragments: list[str]) -> str:
        """Return the configuration that comes of BASE and FRAGMENTS in COMMIT."""
        parts = (base, *fragments, self.compiler, *self._asked.make)

        def configure(temporary: Path, _final: Path) -> None:
            with self._copy.alone():
                log = self._copy.directory / "config.log"
                log.unlink(missing_ok=True)
                self._copy.checkout(commit.tree)
                try:
                    self._configure(base, fragments, log)
                except MakeError as error:
                    raise ConfigError(f"it cannot be configured: {error}") from error
                shutil.copy(self._objects / ".config", temporary / build_cache.CONFIG)

        key = build_cache.key(commit.tree, *parts)
        what = f"the configuration of {commit.label}"
        entry = cache.entry(build_cache.CONFIGS, key, configure, what)
        return (entry / build_cache.CONFIG).read_text()

    @property
    def _objects(self) -> Path:
        asked = (self._asked.base, *self._asked.fragments, *self._asked.make, self.compiler)
        return self._copy.directory / f"objects-{cache.digest(*asked)}"

    def _configure(self, base: str, fragments: list[str], log: Path) -> None:
        objects, source = self._objects, self._copy.source
        objects.mkdir(exist_ok=True)
        if base == self._asked.target:
            self._make(log, base)
            return
        parts = [objects / "asked.config"]
        parts[0].write_text(base)
        for number, text in enumerate(fragments):
            parts.append(objects / f"asked.{number}.config")
            parts[-1].write_text(text)
        script = source / _MERGE
        kernel_make.run(["sh", str(script), "-m", *map(str, parts)], objects, log)
        self._make(log, "olddefconfig")

    def _make(self, log: Path, *words: str) -> None:
        flags = kernel_make.flags(self._asked.make)
        kernel_make.make(self._copy.source, self._objects, [*flags, *words], log)

    def _compile(self, commit: Commit, config: str, log: Path) -> None:
        """Make the objects those of COMMIT. Raises MakeError."""
        self._copy.checkout(commit.tree)
        objects = self._objects
        objects.mkdir(exist_ok=True)
        there = objects / ".config"
        if not there.exists() or there.read_text() != config:
            there.write_text(config)
        local = f"LOCALVERSION=-{commit.short_tree}"
        targets = [_IMAGES[self.arch], "modules"]
        self._make(log, local, f"-j{self._jobs}", *targets)

    def _build(self, commit: Commit, config: str, temporary: Path, final: Path) -> None:
        """Fill the entry of COMMIT; a build that fails is an entry too."""
        log = temporary / build_cache.LOG
        self._note(f"building {commit.label}: {final / build_cache.LOG} will have the log")
        about: dict[str, object] = {
            "tree": commit.tree,
            "commit": commit.sha,
            "compiler": self.compiler,
            "make": self._flags(commit),
        }
        (temporary / build_cache.CONFIG).write_text(config)
        with self._copy.alone():
            try:
                self._compile(commit, config, log)
                install = f"INSTALL_MOD_PATH={temporary / _MODULES}"
                self._make(
                    log, f"LOCALVERSION=-{commit.short_tree}", install, "INSTALL_MOD_STRIP=1",
                    "modules_install",
                )  # fmt: skip
            except MakeError as error:
                build_cache.write_about(temporary, {**about, "failed": str(error)})
                return
            found = bootable.of_tree(self._objects)
            shutil.copy(found.image, temporary / build_cache.IMAGE)
            for name in ("System.map", "Module.symvers"):
                shutil.copy(self._objects / name, temporary / name)
            key = build_cache.bundle_key(final.name)
            cache.entry(
                build_cache.BUNDLES,
                key,
                lambda where, _final: kernel_bundle.build(found, where / build_cache.BUNDLE),
                f"the bundle for {commit.label}",
            )
        about |= {"arch": found.arch, "release": found.release}
        build_cache.write_about(temporary, about)

    def _bundle_again(self, commit: Commit, config: str, temporary: Path) -> None:
        """Build a bundle of this version for a kernel that an older one has built."""
        with self._copy.alone():
            try:
                self._compile(commit, config, temporary / build_cache.LOG)
            except MakeError as error:
                raise TargetError(f"{commit.label} does not build any more: {error}") from error
            kernel_bundle.build(bootable.of_tree(self._objects), temporary / build_cache.BUNDLE)
