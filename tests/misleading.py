# SPDX-License-Identifier: GPL-2.0-only
"""An environment that would make another module: make takes variables of its own from it."""

from __future__ import annotations

FOR_MAKE = {
    "OBJECT_FILES_NON_STANDARD": "y",
    "CFLAGS_MODULE": "-DX -O1",
    "KBUILD_EXTRA_SYMBOLS": "/nonexistent",
    "GNUMAKEFLAGS": "CONFIG_MODVERSIONS=",
}
