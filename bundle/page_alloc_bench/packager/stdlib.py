# SPDX-License-Identifier: GPL-2.0-only
"""Which part of a standard library travels with an embedded Python, and its byte code.

The part is found by reading the import statements of what travels and of what that imports, as
text: a library of another version than the Python that builds can be read so, and an import inside
a function or a docstring counts. Rather a module too many than one that is missed.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.packager import process
from page_alloc_bench.packager.errors import PackagerError

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b(.*)|import[ \t]+(.+))$", re.MULTILINE
)
# Imported by the interpreter itself, by name at run time, or by C code.
_ALWAYS = (
    "_bootlocale", "_collections_abc", "_sitebuiltins", "_strptime", "abc", "codecs", "copyreg",
    "encodings.ascii", "encodings.cp437", "encodings.latin_1", "encodings.utf_8", "genericpath",
    "importlib", "io", "linecache", "os", "posixpath", "runpy", "site", "stat", "tokenize",
    "traceback", "types", "warnings", "zipimport",
)  # fmt: skip
# Imported by what travels only to test, to debug, to reach a network, on other systems, or to be
# faster at what is not done here; each import of them stands where its failure is expected.
_NEVER = frozenset(
    (
        "_aix_support", "_bz2", "_decimal", "_hashlib", "_lzma", "_osx_support", "_pydecimal",
        "_pyrepl", "_ssl", "asyncio", "concurrent", "ctypes.macholib", "ctypes.test", "curses",
        "decimal", "distutils", "doctest", "email", "fractions", "http", "importlib.metadata",
        "logging", "multiprocessing", "pdb", "pydoc", "readline", "statistics", "test",
        "unicodedata", "unittest", "urllib.error", "urllib.request", "urllib.response", "xml",
    )
)  # fmt: skip
_COMPILE = """
import json, py_compile, sys
for source, target, name in json.load(open(sys.argv[1])):
    py_compile.compile(source, target, name, doraise=True, optimize=2,
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""


@dataclass(frozen=True)
class Library:
    """A standard library: where its modules lie, and the version ("3.11") they belong to."""

    modules: Path
    extensions: Path
    version: str

    def find(self, name: str) -> Path | None:
        """Return the file of a module, a package's being its ``__init__``; None for others."""
        path = self.modules.joinpath(*name.split("."))
        for candidate in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if candidate.is_file():
                return candidate
        return self._in_c.get(name)

    @functools.cached_property
    def _in_c(self) -> dict[str, Path]:
        """The files of modules in C, by name."""
        found = sorted(self.extensions.glob("*.cpython-*.so"), reverse=True)
        return {path.name.partition(".cpython-")[0]: path for path in found}


def needed(library: Library, sources: Iterable[str]) -> dict[str, Path]:
    """Return the modules that Python programs with these ``sources`` import, by name."""
    found: dict[str, Path] = {}
    seen: set[str] = set()
    waiting = [*_ALWAYS]
    for text in sources:
        waiting += _imports(text, "")
    while waiting:
        name = waiting.pop()
        if name in seen or _left_out(name):
            continue
        seen.add(name)
        waiting += [name.rpartition(".")[0]]
        path = library.find(name)
        if path is None:
            continue  # built in, not in this version, or a name inside a module
        found[name] = path
        if path.suffix == ".py":
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            waiting += _imports(path.read_text(encoding="utf-8", errors="replace"), package)
    return found


def _left_out(name: str) -> bool:
    parts = name.split(".")
    return not name or any(".".join(parts[:n]) in _NEVER for n in range(1, len(parts) + 1))


def _imports(text: str, package: str) -> Iterator[str]:
    """Yield each name that ``text``, a module of ``package``, may import."""
    for origin, names, modules in _IMPORT.findall(text):
        for part in modules.partition("#")[0].split(","):
            yield from re.findall(r"^\s*([\w.]+)", part)
        if origin:
            base = _absolute(origin, package)
            yield base
            yield from (f"{base}.{name}" for name in re.findall(r"\w+", names.partition("#")[0]))


def _absolute(origin: str, package: str) -> str:
    """Return the module that ``from origin import`` means inside ``package``."""
    name = origin.lstrip(".")
    level = len(origin) - len(name)
    if not level:
        return name
    parents = package.split(".")
    return ".".join([*parents[: len(parents) - level + 1], *filter(None, [name])])


def compiler_for(version: str) -> str | None:
    """Return a Python here that compiles for Python ``version`` ("3.11"); None if there is none.

    The format of byte code belongs to the minor version.
    """
    if version == ".".join(map(str, sys.version_info[:2])):
        return sys.executable
    return shutil.which(f"python{version}")


def compiled(modules: Mapping[str, Path], compiler: str, scratch: Path) -> dict[str, bytes]:
    """Return the byte code of the Python ones of ``modules`` by their names in a zip.

    Without docstrings and assertions, and dependent on nothing but the sources.
    """
    scratch.mkdir()
    jobs = [
        (str(path), str(scratch / f"{number}.pyc"), _zip_name(name, path))
        for number, (name, path) in enumerate(sorted(modules.items()))
        if path.suffix == ".py"
    ]
    listing = scratch / "jobs.json"
    listing.write_text(json.dumps(jobs))
    # Up to 3.10 the order of a set of constants depends on the seed of the hashes.
    finished = process.run(
        [compiler, "-S", "-s", "-B", "-c", _COMPILE, str(listing)], env={"PYTHONHASHSEED": "0"}
    )
    if finished.status != 0:
        raise PackagerError(f"{compiler} cannot compile its library:\n{finished.stderr.strip()}")
    return {f"{name}c": Path(target).read_bytes() for _, target, name in jobs}


def plain(modules: Mapping[str, Path]) -> dict[str, bytes]:
    """Return the sources of the Python ones of ``modules`` by their names in a zip."""
    return {
        _zip_name(name, path): path.read_bytes()
        for name, path in modules.items()
        if path.suffix == ".py"
    }


def _zip_name(name: str, path: Path) -> str:
    stem = name.replace(".", "/")
    return f"{stem}/__init__.py" if path.name == "__init__.py" else f"{stem}.py"
