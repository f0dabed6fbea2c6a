# SPDX-License-Identifier: GPL-2.0-only
"""Read the bundle that this runner came in: a file, or the directory it was extracted to."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any, cast

from page_alloc_bench.runner.errors import EXIT_HOST_UNFIT, RunnerError

BUNDLE_VARIABLE = "PAGE_ALLOC_BENCH_BUNDLE"
MANIFEST = "manifest.json"
# The newest layout of the manifest that this reader knows.
FORMAT = 1


class ArchiveError(RunnerError):
    """The bundle is missing or damaged; the text is one line for the user."""


class NoModuleError(ArchiveError):
    """The bundle is whole, and none of its modules is for this host."""

    exit_code = EXIT_HOST_UNFIT


class Archive:
    """The parts of a bundle: those in the zip, and the embedded Pythons in front of it."""

    def __init__(self, path: str | Path) -> None:
        """Open the bundle file or extracted directory at ``path``; ArchiveError if neither."""
        self.path = Path(path)
        self._zip: zipfile.ZipFile | None = None
        if self.path.is_dir():
            return
        try:
            self._zip = zipfile.ZipFile(self.path)
        except Exception as error:  # zipfile has no end of ways to be surprised by damage
            raise ArchiveError(f"{self.path} is not a bundle: {error}") from error

    @property
    def extracted(self) -> bool:
        """Whether this is a directory of plain files."""
        return self._zip is None

    def names(self) -> list[str]:
        """Return the names of all parts, the manifest included, sorted."""
        inside = self._zip.namelist() if self._zip is not None else [MANIFEST]
        manifest = self.manifest()
        parts = manifest["parts"] if self.extracted else []
        return sorted([*inside, *(part["name"] for part in [*parts, *interpreters(manifest)])])

    def read(self, name: str) -> bytes:
        """Return one part; ArchiveError when it is missing or cannot be unpacked."""
        try:
            if self._zip is not None:
                inside = name in self._zip.NameToInfo
                return self._zip.read(name) if inside else self._slice(name)
            return (self.path / name).read_bytes()
        except Exception as error:
            raise ArchiveError(f"{name} in {self.path} is damaged or missing: {error}") from error

    def _slice(self, name: str) -> bytes:
        """Return an embedded Python of a bundle file; KeyError for the name of no part."""
        for each in interpreters(self.manifest()):
            if each["name"] == name:
                with self.path.open("rb") as file:
                    file.seek(each["offset"])
                    return file.read(each["size"])
        raise KeyError(name)

    def is_executable(self, name: str) -> bool:
        """Whether a part of a bundle file is meant to be started."""
        assert self._zip is not None
        info = self._zip.NameToInfo.get(name)
        return bool(info and info.external_attr >> 16 & 0o111)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest; see the packager's manifest.py for what it holds."""
        try:
            document = json.loads(self.read(MANIFEST))
            known = document["format"] <= FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise ArchiveError(f"the manifest of {self.path} is damaged") from error
        if not known:
            raise ArchiveError(f"{self.path} has a manifest of format {document['format']}")
        return cast("dict[str, Any]", document)

    def entry(self, release: str, machine: str) -> dict[str, Any]:
        """Return the manifest's entry of the module for a kernel ``release`` on a ``machine``.

        Both as uname says them, compared exactly. NoModuleError when there is none.
        """
        entries = self.manifest()["modules"]
        for entry in entries:
            if (entry["release"], entry["machine"]) == (release, machine):
                return cast("dict[str, Any]", entry)
        held = ", ".join(f"{entry['release']} ({entry['machine']})" for entry in entries)
        raise NoModuleError(
            f"this host runs {release} ({machine}), and the bundle holds modules for {held}; "
            "build one with: page-alloc-bench build --kdir TREE, or give --build-on-target where "
            "this host has its kernel's headers and a compiler"
        )

    def module(self, entry: dict[str, Any]) -> bytes:
        """Return the module of a manifest's entry; ArchiveError when it is not what that says."""
        data = self.read(entry["name"])
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ArchiveError(f"{entry['name']} in {self.path} is damaged: copy it again")
        return data

    def problems(self) -> list[str]:
        """Compare every byte with what the manifest and the stub promise; return what differs."""
        manifest = self.manifest()
        found = [] if self.extracted else self._outer_problems(manifest)
        parts = [*manifest["parts"], *interpreters(manifest)]
        promised = {part["name"]: part for part in parts}
        for name in sorted({MANIFEST, *promised}.symmetric_difference(self.names())):
            found.append(
                f"{name} is missing" if name in promised else f"{name} does not belong to it"
            )
        return found + [why for part in promised.values() if (why := self._part_problem(part))]

    def _part_problem(self, part: dict[str, Any]) -> str:
        try:
            data = self.read(part["name"])
        except ArchiveError as error:
            return str(error)
        if hashlib.sha256(data).hexdigest() != part["sha256"]:
            return f"{part['name']} has changed"
        return ""

    def _outer_problems(self, manifest: dict[str, Any]) -> list[str]:
        """Check the stub by the manifest's digest, and the zip as a whole by the stub's."""
        data = self.path.read_bytes()
        size = manifest["stub"]["size"]
        end = max([size, *(each["offset"] + each["size"] for each in interpreters(manifest))])
        stub, payload = data[:size], data[end:]
        found = []
        fields = dict(re.findall(rb"(?m)^(file_size|payload_sha256)=([0-9a-f]+)$", stub))
        if hashlib.sha256(blank_fields(stub)).hexdigest() != manifest["stub"]["sha256"]:
            found.append("the stub (the shell script at its start) has changed")
        if fields.get(b"file_size") != b"%012d" % len(data):
            found.append(f"it has {len(data)} bytes, and its stub names another number")
        if fields.get(b"payload_sha256") != hashlib.sha256(payload).hexdigest().encode():
            found.append("the zip differs from the digest in the stub")
        return found


def interpreters(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the manifest's entries of the embedded Pythons."""
    return cast("list[dict[str, Any]]", manifest.get("interpreters", []))


def blank_fields(stub: bytes) -> bytes:
    """Return the stub as it was before the size and the digest of the rest were filled in."""
    return re.sub(
        rb"(?m)^(file_size|payload_sha256)=([0-9a-f]+)$",
        lambda match: match[1] + b"=" + b"0" * len(match[2]),
        stub,
    )


def open_archive(path: str | Path | None = None) -> Archive:
    """Open the bundle at ``path``, by default the one that is running."""
    if path is None:
        path = os.environ.get(BUNDLE_VARIABLE)
    if not path:
        raise ArchiveError(
            f"not started from a bundle; to use one, set {BUNDLE_VARIABLE} to its path"
        )
    return Archive(path)
