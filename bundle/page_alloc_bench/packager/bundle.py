# SPDX-License-Identifier: GPL-2.0-only
"""Put a bundle together: the shell stub and the embedded Pythons, each padded to whole blocks, and
the zip after them.

The stub holds the size of the file and the digests of the Pythons and of the zip; the zip's
manifest holds those of the Pythons, and of the stub with what is filled in last blanked. So each
part vouches for the others, and no byte is left over.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import page_alloc_bench
from page_alloc_bench import resources
from page_alloc_bench.packager import manifest, zipapp
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.interpreter import BLOCK, Interpreter
from page_alloc_bench.packager.kbuild import BuiltModule
from page_alloc_bench.packager.zipapp import Member, Members
from page_alloc_bench.runner import launch

_SIZE_BLANK = "0" * 12
_DIGEST_BLANK = "0" * 64
_PYTHONS = tuple(f"python3.{minor}" for minor in range(14, 8, -1))


def assemble(
    modules: Sequence[BuiltModule],
    members: Members,
    kmod: Mapping[str, bytes],
    interpreters: Sequence[Interpreter] = (),
) -> bytes:
    """Return the bytes of a bundle made of ``modules``, shiv's ``members`` and our own files.

    ``kmod`` is the source of the modules, which travels along: their licence asks for it, and a
    target for whose kernel there is none may compile it. ``interpreters``: one an architecture.
    """
    releases = ", ".join(f"{module.info.release} ({module.info.machine})" for module in modules)
    stub = _padded(_render(releases, interpreters, bundle=True))
    prefix = stub + b"".join(each.data for each in interpreters)
    members = dict(members)
    for module in modules:
        members[manifest.module_name(module)] = Member(module.data)
    members.update({f"kmod/{name}": Member(data) for name, data in kmod.items()})
    members["run.sh"] = Member(
        _render(releases, interpreters, bundle=False).encode(), executable=True
    )
    members["__main__.py"] = Member(zipapp.launcher())
    members["stub.crc32"] = Member(f"{zlib.crc32(stub):08x} {len(stub)}\n".encode())
    members.update(_licenses())
    for each in interpreters:
        for name, text in each.licenses.items():
            members[f"licenses/embedded-python-{each.machine}/{name}.txt"] = Member(text)
    members["manifest.json"] = Member(
        manifest.make(
            modules=modules,
            members=members,
            kmod=kmod,
            runner=zipapp.runner_part(members),
            stub={"size": len(stub), "sha256": manifest.sha256(stub)},
            interpreters=interpreters,
        )
    )
    return _filled_in(zipapp.pack(prefix, members), len(stub), len(prefix))


def _render(
    releases: str, interpreters: Sequence[Interpreter], *, bundle: bool, blocks: int = 1
) -> str:
    """Return the stub, or an extracted bundle's run.sh; blocks: how many the stub takes."""
    block = blocks
    slices = []
    for each in interpreters:
        slices.append(
            {
                "machine": each.machine,
                "loader": each.loader,
                "sha256": manifest.sha256(each.data),
                "name": manifest.slice_name(each),
                "block": block if bundle else 0,
                "blocks": len(each.data) // BLOCK,
            }
        )
        block += len(each.data) // BLOCK
    text = resources.render(
        "run.sh.j2",
        bundle=bundle,
        version=page_alloc_bench.__version__,
        releases=releases,
        pythons=_PYTHONS,
        system_path=launch.SYSTEM_PATH,
        interpreters=slices,
        zip_block=block,
        file_size=_SIZE_BLANK,
        payload_sha256=_DIGEST_BLANK,
    )
    if bundle and _blocks(text) != blocks:
        return _render(releases, interpreters, bundle=True, blocks=_blocks(text))
    return text


def _blocks(text: str) -> int:
    return -(-len(text.encode()) // BLOCK)


def _padded(text: str) -> bytes:
    """Fill ``text`` up to whole blocks with newlines, which every shell and pager takes."""
    data = text.encode()
    return data + b"\n" * (-len(data) % BLOCK)


def _filled_in(data: bytes, stub_size: int, zip_offset: int) -> bytes:
    """Put the size of the file and the digest of the zip into their places in the stub."""
    stub, rest = data[:stub_size], data[stub_size:]
    for name, blank, value in (
        (b"file_size", _SIZE_BLANK, f"{len(data):012d}"),
        (b"payload_sha256", _DIGEST_BLANK, manifest.sha256(data[zip_offset:])),
    ):
        pattern = b"(?m)^" + name + b"=" + blank.encode() + b"$"
        stub, count = re.subn(pattern, name + b"=" + value.encode(), stub)
        if count != 1:
            raise PackagerError(f"the stub's template must set {name.decode()} once")
    return stub + rest


def _licenses() -> Members:
    """Return the licence of this project and shiv's, whose start-up code travels along."""
    found: Members = {}
    checkout = Path(page_alloc_bench.__file__).parents[2] / "LICENSES/GPL-2.0-only.txt"
    if checkout.exists():
        found["licenses/GPL-2.0-only.txt"] = Member(checkout.read_bytes())
    for package, suffix, name in (
        ("page-alloc-bench", "GPL-2.0-only.txt", "licenses/GPL-2.0-only.txt"),
        ("shiv", "LICENSE", "licenses/shiv.txt"),
    ):
        # A checkout need not be installed.
        for file in [] if name in found else metadata.files(package) or []:
            if file.name == suffix:
                found[name] = Member(Path(str(file.locate())).read_bytes())
        if name not in found:
            raise PackagerError(
                f"the licence of {package} is not installed", f"install {package} again"
            )
    return found
