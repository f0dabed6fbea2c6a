# SPDX-License-Identifier: GPL-2.0-only
"""The bill of materials of a bundle, a CycloneDX document, made from the bundle's own manifest.

Equal bundles give equal documents: the serial number is derived from the bundle's digest, and a
time stands in it only if SOURCE_DATE_EPOCH states one.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import uuid
import zipfile
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from page_alloc_bench.packager import wheels
from page_alloc_bench.packager.errors import PackagerError

VERSION = SchemaVersion.V1_6
_PREFIX = "page-alloc-bench:"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "page-alloc-bench/bundle")
_OURS = "GPL-2.0-only"
_SHIV = ("_bootstrap/", "environment.json")
_PSUTIL = re.compile(r"site-packages/(?:[^/]+/)?psutil/")
_MODULES = "modules/"
_PYTHON_LICENSES = "licenses/embedded-python-"


def of_bundle(data: bytes) -> str:
    """Return the document for a bundle, as JSON text."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    slices = {
        entry["name"]: _unpacked(data[entry["offset"] :][: entry["size"]])
        for entry in manifest["interpreters"]
    }
    return make(manifest, hashlib.sha256(data).hexdigest(), slices)


def make(manifest: Mapping[str, Any], digest: str, slices: Mapping[str, Mapping[str, str]]) -> str:
    """Return the document for the bundle with this manifest and this SHA-256, as JSON text.

    ``slices``: of each embedded Python the SHA-256 of each file, by the file's name.
    """
    version = manifest["tool"]["version"]
    parts = {part["name"]: part for part in manifest["parts"]}
    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, digest))
    # None leaves it out, which the schema allows and the library's types do not.
    bom.metadata.timestamp = _timestamp()  # type: ignore[assignment]
    bom.metadata.component = root = Component(
        name="bench.run",
        type=ComponentType.APPLICATION,
        version=version,
        bom_ref="bundle",
        hashes=[_sha256(digest)],
        licenses=[DisjunctiveLicense(id=_OURS)],
    )
    psutil = [part for name, part in parts.items() if _PSUTIL.match(name)]
    shiv = [part for name, part in parts.items() if name.startswith(_SHIV)]
    rest = [
        part
        for name, part in parts.items()
        if part not in psutil
        and part not in shiv
        and not name.startswith((_MODULES, _PYTHON_LICENSES))
    ]
    found = [
        _runner(manifest, rest),
        *(_module(entry, version) for entry in manifest["modules"]),
        _package("psutil", _psutil_version(), "BSD-3-Clause", psutil),
        _package("shiv", metadata.version("shiv"), "BSD-2-Clause", shiv),
        *(_python(entry, slices[entry["name"]], parts) for entry in manifest["interpreters"]),
    ]
    for component in found:
        bom.components.add(component)
    bom.register_dependency(root, found)
    text = make_outputter(bom, OutputFormat.JSON, VERSION).output_as_string(indent=2)
    return text + "\n"


def _runner(manifest: Mapping[str, Any], parts: Iterable[Mapping[str, Any]]) -> Component:
    return Component(
        name=manifest["tool"]["name"],
        type=ComponentType.APPLICATION,
        version=manifest["tool"]["version"],
        bom_ref="runner",
        licenses=[DisjunctiveLicense(id=_OURS)],
        properties=_properties(
            {
                "source:kmod": manifest["source"]["kmod"],
                "source:runner": manifest["source"]["runner"],
                "stub:sha256": manifest["stub"]["sha256"],
            }
        ),
        components=_files(parts),
    )


def _module(entry: Mapping[str, Any], version: str) -> Component:
    said = {
        name: entry[name] for name in ("release", "machine", "vermagic", "compiler", "srcversion")
    }
    signature = entry["signature"]
    if signature:
        said |= {f"signature:{name}": value for name, value in signature.items()}
    return Component(
        name="page_alloc_bench.ko",
        type=ComponentType.DEVICE_DRIVER,
        version=version,
        bom_ref=entry["name"],
        description=f"kernel module for Linux {entry['release']} ({entry['machine']})",
        hashes=[_sha256(entry["sha256"])],
        licenses=[DisjunctiveLicense(id=_OURS)],
        properties=_properties(said),
    )


def _package(
    name: str, version: str, license_id: str, parts: Iterable[Mapping[str, Any]]
) -> Component:
    """Return a package of the Python package index, of which ``parts`` travel."""
    return Component(
        name=name,
        type=ComponentType.LIBRARY,
        version=version,
        bom_ref=name,
        purl=PackageURL("pypi", name=name, version=version),
        licenses=[DisjunctiveLicense(id=license_id)],
        components=_files(parts),
    )


def _python(entry: Mapping[str, Any], files: Mapping[str, str], parts: Iterable[str]) -> Component:
    """Return an embedded Python with its files, the shared libraries that it needs among them.

    Their licences stand in the bundle, a file for each package that they come from.
    """
    texts = [name for name in parts if name.startswith(f"{_PYTHON_LICENSES}{entry['machine']}/")]
    return Component(
        name="cpython",
        type=ComponentType.PLATFORM,
        version=entry["version"],
        bom_ref=entry["name"],
        description=f"Python for {entry['machine']} with the libraries and the loader it needs",
        hashes=[_sha256(entry["sha256"])],
        licenses=[
            DisjunctiveLicense(id="PSF-2.0"),
            *(DisjunctiveLicense(name=f"in the bundle: {name}") for name in sorted(texts)),
        ],
        properties=_properties({"machine": entry["machine"]}),
        components=[
            Component(
                name=name,
                type=ComponentType.LIBRARY if name.startswith("lib/") else ComponentType.FILE,
                bom_ref=f"{entry['name']}:{name}",
                hashes=[_sha256(digest)],
            )
            for name, digest in files.items()
        ],
    )


def _unpacked(data: bytes) -> dict[str, str]:
    """Return the SHA-256 of each file of a slice, by its name."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            if file:
                found[member.name] = hashlib.sha256(file.read()).hexdigest()
    return found


def _files(parts: Iterable[Mapping[str, Any]]) -> list[Component]:
    return [
        Component(
            name=part["name"],
            type=ComponentType.FILE,
            bom_ref=f"file:{part['name']}",
            hashes=[_sha256(part["sha256"])],
        )
        for part in parts
    ]


def _properties(values: Mapping[str, str]) -> list[Property]:
    return [Property(name=_PREFIX + name, value=value) for name, value in values.items() if value]


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _psutil_version() -> str:
    found = re.search(r"^psutil==(\S+)", wheels.REQUIREMENTS.read_text(), re.MULTILINE)
    if not found:
        raise PackagerError(f"{wheels.REQUIREMENTS.name} pins no version of psutil")
    return found[1]


def _timestamp() -> datetime | None:
    """Return the time that the caller wants to be named, if he names one."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not text.isdigit():
        raise PackagerError(f"SOURCE_DATE_EPOCH={text} is not a number of seconds")
    return datetime.fromtimestamp(int(text), timezone.utc)
