# SPDX-License-Identifier: GPL-2.0-only
"""How this copy of page-alloc-bench was installed: commands that work where it stands.

The name may stand for nothing, or for something else, in a package index: no command asks for it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path

_DISTRIBUTION = "page-alloc-bench"
CHECKOUT = Path(__file__).resolve().parents[2]
_EXTRA = re.compile(r"""\s*;\s*extra\s*==\s*["'](\w+)["']\s*$""")


def install_extra(extra: str) -> str:
    """Return the command that installs what ``extra`` needs for the Python that runs this.

    ``extra`` may be several, with commas.
    """
    pip = [sys.executable, "-m", "pip", "install"]
    if (CHECKOUT / "pyproject.toml").is_file():
        return shlex.join([*pip, "-e", f"{CHECKOUT}[{extra}]"])
    # Of the libraries themselves: where this came from may be gone.
    wanted = []
    for requirement in metadata.requires(_DISTRIBUTION) or []:
        match = _EXTRA.search(requirement)
        if match and match[1] in extra.split(","):
            wanted.append(requirement[: match.start()])
    return shlex.join([*pip, *wanted])


def as_root() -> str:
    """Return the command line of this very process for root.

    sudo looks for programs in its own secure_path, where no virtual environment is: the path is
    absolute.
    """
    return shlex.join(["sudo", *_program(), *sys.argv[1:]])


def _program() -> list[str]:
    program = shutil.which(sys.argv[0]) or sys.argv[0]
    if Path(program).suffix == ".py":  # python -m page_alloc_bench.cli
        path = os.environ.get("PYTHONPATH")
        environment = ["env", f"PYTHONPATH={os.path.abspath(path)}"] if path else []
        return [*environment, sys.executable, "-m", "page_alloc_bench.cli"]
    return [os.path.abspath(program)]
