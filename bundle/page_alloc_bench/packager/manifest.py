# SPDX-License-Identifier: GPL-2.0-only
"""The manifest of a bundle: what it is made of and how to recognise each part.

It holds nothing about where, when or by whom it was made, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import page_alloc_bench
from page_alloc_bench.packager.interpreter import Interpreter
from page_alloc_bench.packager.kbuild import BuiltModule
from page_alloc_bench.packager.zipapp import Member

FORMAT = 1


def sha256(data: bytes) -> str:
    """Return the digest of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def module_name(module: BuiltModule) -> str:
    """Return the name of a module inside a bundle."""
    return f"modules/{module.info.release}-{module.info.machine}/page_alloc_bench.ko"


def slice_name(interpreter: Interpreter) -> str:
    """Return what an embedded Python is called where the parts of a bundle have names."""
    return f"python-{interpreter.machine}.tar.gz"


def source_digest(files: Mapping[str, bytes]) -> str:
    """Return one digest over names and contents."""
    listing = "".join(f"{sha256(files[name])}  {name}\n" for name in sorted(files))
    return sha256(listing.encode())


def read_tree(top: Path) -> dict[str, bytes]:
    """Return the files under ``top`` by their relative names."""
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


def make(
    *,
    modules: Sequence[BuiltModule],
    members: Mapping[str, Member],
    kmod: Mapping[str, bytes],
    runner: Mapping[str, bytes],
    stub: Mapping[str, Any],
    interpreters: Sequence[Interpreter] = (),
) -> bytes:
    """Return manifest.json. ``members`` is all of the zip but the manifest itself."""
    document = {
        "format": FORMAT,
        "tool": {"name": "page-alloc-bench", "version": page_alloc_bench.__version__},
        "source": {"kmod": source_digest(kmod), "runner": source_digest(runner)},
        "modules": [_describe(module) for module in modules],
        "parts": [
            {"name": name, "size": len(members[name].data), "sha256": sha256(members[name].data)}
            for name in sorted(members)
        ],
        "stub": dict(stub),
        "interpreters": _slices(stub["size"], interpreters),
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _describe(module: BuiltModule) -> dict[str, Any]:
    info = module.info
    return {
        "name": module_name(module),
        "release": info.release,
        "machine": info.machine,
        "vermagic": info.vermagic,
        "compiler": info.compiler,
        "srcversion": info.srcversion,
        "config": module.config,
        "build": dict(module.build),
        "signature": asdict(module.signature) if module.signature else None,
        "size": len(module.data),
        "sha256": sha256(module.data),
    }


def _slices(offset: int, interpreters: Sequence[Interpreter]) -> list[dict[str, Any]]:
    """Describe the embedded Pythons, which lie behind one another from ``offset`` on, in bytes."""
    described = []
    for each in interpreters:
        described.append(
            {
                "name": slice_name(each),
                "version": each.version,
                "machine": each.machine,
                "offset": offset,
                "size": len(each.data),
                "unpacked_size": each.unpacked_size,
                "sha256": sha256(each.data),
            }
        )
        offset += len(each.data)
    return described
