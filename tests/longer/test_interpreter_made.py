# SPDX-License-Identifier: GPL-2.0-only
"""The Python that a bundle brings is made of one that is whole, with all that it needs."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from bundle_maker import make_bundle, own_interpreter, start
from page_alloc_bench.packager import interpreter, libraries, stdlib
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.interpreter import BLOCK, Interpreter
from page_alloc_bench.packager.libraries import Root

# Modules that nothing imports but where their absence is expected, and Windows' own.
UNIMPORTABLE = {"bz2", "encodings.mbcs", "encodings.oem", "lzma"}


IMPORT_ALL = """
import json, os, sys, zipfile
library = next(path for path in sys.path if path.endswith(".zip"))
names = [name.rpartition(".")[0].replace("/", ".") for name in zipfile.ZipFile(library).namelist()]
names += [name.partition(".")[0] for name in os.listdir(sys.path[-1]) if name.endswith(".so")]
failed = {}
for name in (name.removesuffix(".__init__") for name in names):
    try:
        __import__(name)
    except ImportError as error:
        failed[name] = str(error)
maps = open("/proc/self/maps").read().split()
print(json.dumps({
    "failed": failed, "path": sys.path, "count": len(names),
    "mapped": sorted({word for word in maps if word.startswith("/") and ".so" in word})}))
"""


def test_it_imports_all_that_it_holds_and_takes_no_file_of_the_host(
    python: Interpreter, tmp_path: Path
) -> None:
    with tarfile.open(fileobj=io.BytesIO(python.data), mode="r:gz") as archive:
        archive.extractall(tmp_path / "home", filter="data")
    home = tmp_path / "home"
    command = [
        str(home / "lib" / python.loader), "--inhibit-cache", "--library-path", str(home / "lib"),
        str(home / "bin/python3"), "-I", "-S", "-B", "-c", IMPORT_ALL,
    ]  # fmt: skip
    told = json.loads(start(command).stdout)
    assert set(told["failed"]) <= UNIMPORTABLE, told["failed"]
    assert told["count"] > 100
    for path in [*told["path"], *told["mapped"]]:
        assert path.startswith(str(home)), path


def test_it_is_small_and_whole_blocks(python: Interpreter) -> None:
    assert len(python.data) % BLOCK == 0
    assert len(python.data) < 8_000_000
    assert python.bytecode
    assert python.version == sys.version.split()[0].rstrip("+")


def test_it_is_the_same_each_time_and_so_is_a_bundle_with_it(
    embedding_bundle: Path, python: Interpreter, tmp_path: Path
) -> None:
    again = own_interpreter()
    assert again.data == python.data
    (tmp_path / "another directory").mkdir()
    other = make_bundle(tmp_path / "another directory/bench.run", interpreters=[again])
    assert other.read_bytes() == embedding_bundle.read_bytes()


def test_files_belong_to_nobody_and_have_no_date(python: Interpreter) -> None:
    with tarfile.open(fileobj=io.BytesIO(python.data), mode="r:gz") as archive:
        entries = archive.getmembers()
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in entries} == {
        (0, 0, "", 0)
    }
    assert {entry.mode for entry in entries} == {0o644, 0o755}
    assert [e.name for e in entries if e.isfile()] == sorted(e.name for e in entries if e.isfile())


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    library = stdlib.Library(tmp_path, tmp_path / "lib-dynload", "3.11")
    (tmp_path / "pack/deep").mkdir(parents=True)
    for name, text in {
        "pack/__init__.py": "from . import near\nfrom .deep import inner as x",
        "pack/near.py": "",
        "pack/deep/__init__.py": "",
        "pack/deep/inner.py": "def f():\n    import late, later as y # import nothing",
        "late.py": "from ..beyond import z",
        "later.py": "",
        "nothing.py": "",
        "unittest.py": "",
        "unused.py": "",
    }.items():
        (tmp_path / name).write_text(text)
    found = stdlib.needed(library, ["import unittest\nimport pack.deep"])
    assert sorted(found) == ["late", "later", "pack", "pack.deep", "pack.deep.inner", "pack.near"]


def test_libraries_are_found_with_all_that_they_need() -> None:
    program = libraries.read(Path(os.path.realpath(sys.executable)))
    found = Root(Path("/")).closure([program])
    assert "libc.so.6" in found
    asked_for = {name for elf in [program, *found.values()] for name in elf.needed}
    assert asked_for == set(found)
    assert {elf.machine for elf in found.values()} == {program.machine}


def test_a_missing_library_is_named() -> None:
    program = replace(libraries.read(Path(os.path.realpath(sys.executable))), needed=("lib0.so.9",))
    with pytest.raises(PackagerError, match=r"lib0\.so\.9"):
        Root(Path("/")).closure([program])


def test_links_lead_nowhere_outside_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("/usr/lib")
    (tmp_path / "usr/lib/libx.so").symlink_to("../../../../lib/libx.so.1")
    assert Root(tmp_path).place("/lib/libx.so") == tmp_path / "usr/lib/libx.so.1"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PackagerError, match="link to itself"):
        Root(tmp_path).place("/loop")


@pytest.mark.parametrize("loader", [None, "/lib/ld-musl-x86_64.so.1"])
def test_a_python_that_cannot_travel_is_refused_with_the_way_out(
    loader: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = libraries.read
    monkeypatch.setattr(libraries, "read", lambda path: replace(real(path), loader=loader))
    with pytest.raises(PackagerError) as caught:
        interpreter.make(interpreter.own(), (), (), tmp_path / "parts")
    assert "--python host" in caught.value.advice


def test_a_tree_without_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackagerError, match="holds no Python"):
        interpreter.from_root(tmp_path)


def test_the_newest_python_of_a_tree_is_taken(tmp_path: Path) -> None:
    for version in ("3.9", "3.11", "3.10"):
        (tmp_path / f"usr/lib/python{version}").mkdir(parents=True)
        (tmp_path / f"usr/lib/python{version}/os.py").write_text("")
        (tmp_path / "usr/bin").mkdir(exist_ok=True)
        (tmp_path / f"usr/bin/python{version}").write_text("")
    source = interpreter.from_root(tmp_path)
    assert (source.library.version, source.program.name) == ("3.11", "python3.11")
