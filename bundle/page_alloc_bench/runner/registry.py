# SPDX-License-Identifier: GPL-2.0-only
"""Find what is declared a file each, by listing a directory."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any


_FOUND: dict[tuple[str, str], dict[str, Any]] = {}


def declared(package: str, name: str) -> dict[str, Any]:
    """Return what each module of a package has under a name, by the module's name in order.

    Raises AttributeError for a module that has nothing of that name.
    """
    if (package, name) not in _FOUND:
        _FOUND[package, name] = _listed(package, name)
    return _FOUND[package, name]


def _listed(package: str, name: str) -> dict[str, Any]:
    names = sorted(_names(_imported(package)))
    modules = {each: _imported(f"{package}.{each}") for each in names}
    return {each: getattr(module, name) for each, module in modules.items()}


def _imported(name: str) -> ModuleType:
    """Return a module, as importlib.import_module() does, which takes longer to import itself."""
    __import__(name)
    return sys.modules[name]


def forget() -> None:
    """List the directories again when they are asked for next."""
    _FOUND.clear()


def _names(package: ModuleType) -> set[str]:
    """Return the names of the modules and packages in a package."""
    found = {entry.partition(".")[0] for path in package.__path__ for entry in _entries(path)}
    return {name for name in found if name.isidentifier() and not name.startswith("__")}


def _entries(directory: str) -> Iterable[str]:
    """Return the names in a directory, which may be in a zip that Python imports from.

    pkgutil does it in the same way, and takes long to import.
    """
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        import zipimport

        known: dict[str, Any] = vars(zipimport)["_zip_directory_cache"]
        archive = next(path for path in known if directory.startswith(path + os.sep))
        inside = directory[len(archive) + 1 :] + os.sep
        members = (name[len(inside) :] for name in known[archive] if name.startswith(inside))
        return {name.partition(os.sep)[0] for name in members}
