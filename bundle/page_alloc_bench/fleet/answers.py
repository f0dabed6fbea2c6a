# SPDX-License-Identifier: GPL-2.0-only
"""Read what the commands of the playbooks print on a host.

A host may print more: a greeting, a warning of sudo, a last word at logout. So what is ours stands
in lines that begin with a mark, or in the JSON after one; what is not there is None.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any, NamedTuple

MARK = "page-alloc-bench:"
_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Release, machine, boot id; and the boot id of a run that is there already. For the playbook too.
LOOK = rf"(?m)^{MARK} look (\S+) (\S+) ({_ID})(?: ({_ID}))?\r?$"
_LEFT = re.compile(
    rf"^{MARK} over (\S+)$(?P<log>.*)^{MARK} result$(?P<result>.*)^{MARK} end$", re.M | re.S
)


class Look(NamedTuple):
    """What a host said of itself. detached: the boot that a run of ours was begun in, or ""."""

    release: str
    machine: str
    boot_id: str
    detached: str

    @property
    def kernel(self) -> str:
        """Return its kernel as bundles.by_kernel() names it."""
        return f"{self.release} {self.machine}"


class Left(NamedTuple):
    """What a run has left. code: its exit code. said: its log. data: its packed result, or b""."""

    code: str
    said: bytes
    data: bytes

    @property
    def whole(self) -> bool:
        """Return whether the result is that of a complete run. Raises ValueError, OSError."""
        document = json.loads(gzip.decompress(self.data)) if self.data else {}
        run = document.get("run") if isinstance(document, dict) else None
        return isinstance(run, dict) and run.get("complete") is True


def look(stdout: str) -> Look | None:
    """Return what `look` printed."""
    found = re.findall(LOOK, stdout)
    return Look(*found[-1]) if found else None


def status(stdout: str) -> tuple[str, dict[str, Any]] | None:
    """Return the boot id and the state that `status` printed; an empty state if it has none."""
    found = list(re.finditer(rf"^{MARK} boot ({_ID})\r?$", stdout, re.M))
    return (found[-1][1], after_mark(stdout[found[-1].start() :])) if found else None


def after_mark(stdout: str) -> dict[str, Any]:
    """Return the JSON object that was printed after the last mark, empty if there is none."""
    place = stdout.rfind(MARK)
    begin = stdout.find("{", place)
    if min(place, begin) < 0:
        return {}
    try:
        value, _ = json.JSONDecoder().raw_decode(stdout, begin)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def findings(stdout: str) -> str:
    """Return the names of the findings that refuse, from what `preflight` printed."""
    found = after_mark(stdout).get("findings", [])
    return ", ".join(each["name"] for each in found if each["severity"] == "refuse")


def left(stdout: str) -> Left:
    """Return what `fetch` printed. Raises ValueError, OSError and EOFError where it is damaged."""
    found = _LEFT.search(stdout.replace("\r", ""))
    if found is None:
        raise ValueError("it did not come whole")
    said = gzip.decompress(base64.b64decode(found["log"]))
    return Left(found[1], said, base64.b64decode(found["result"]))
