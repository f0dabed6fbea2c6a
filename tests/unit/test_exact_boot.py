# SPDX-License-Identifier: GPL-2.0-only
"""What a boot that counts instructions says when it fails: the reason first, in one line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from page_alloc_bench.targets import exact
from page_alloc_bench.targets.process import TargetError
from page_alloc_bench.targets.serial import Returned

WHOLE = {"run": {"complete": True, "kernel": {"release": "6.1.0-test"}, "exact": {"cases": []}}}
CUT = {"run": {**WHOLE["run"], "complete": False}}
NAME = "page-alloc-bench"  # which the benchmark's messages begin with
REFUSAL = [
    f"{NAME}: 3 s",
    f"{NAME}: error: the kernel refuses the module: Not permitted",
    "  (EPERM): disabled",
]


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return the result of a guest that says and sends this."""
    (tmp_path / "image").write_bytes(b"image")

    unpacked = SimpleNamespace(command=("sh", "/root/bench"), files={})

    def measured(status: int, document: Any, dmesg: str = "", said: Any = ()) -> Any:
        class Guest:
            console = ""

            def __init__(self, *_: object, **__: object) -> None:
                pass

            def run(self, *_: object, on_line: Any, **__: object) -> Returned:
                for line in said:
                    on_line(line)
                files = {"dmesg": dmesg.encode()}
                if document is not None:
                    files["result.json"] = json.dumps(document).encode()
                return Returned(status, files, "", 10.0)

        monkeypatch.setattr(exact, "SerialGuest", Guest)
        monkeypatch.setattr(exact, "unpack", lambda *_: unpacked)
        told.clear()
        return exact.measure(
            tmp_path / "b", tmp_path / "image", "amd64", by_function=False, on_line=told.append
        )

    told: list[str] = []
    measured.told = told  # type: ignore[attr-defined]
    return measured


def test_a_whole_run_is_its_result(boot: Any) -> None:
    assert boot(0, WHOLE, said=["order 0"])["run"]["complete"] is True
    assert boot.told == ["order 0"]


def test_what_is_told_of_its_progress_is_without_its_name(boot: Any) -> None:
    boot(0, WHOLE, said=[f"{NAME}: order 0"])
    assert boot.told == ["order 0"]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ((3, None, "", REFUSAL),
         "the benchmark refuses this kernel: the kernel refuses the module: Not permitted "
         "(EPERM): disabled"),
        ((2, None, "", [f"{NAME}: error: no such option"]),
         "the benchmark refuses this kernel: no such option"),
        ((1, None, "", [f"{NAME}: error: no memory"]), "exit status 1: no memory"),
        ((0, None, "", []), "exit status 0:"),
        ((0, CUT, "", [f"{NAME}: warning: cut"]), "exit status 0: warning: cut"),
        ((0, WHOLE, "[ 2.0] BUG: Bad page state", []),
         "the kernel's log has: [ 2.0] BUG: Bad page state"),
        ((0, WHOLE, "[ 2.0] Oops: 0002 [#1]", []), "the kernel's log has: [ 2.0] Oops: 0002 [#1]"),
    ],
)  # fmt: skip
def test_what_fails_says_why_in_its_first_line(boot: Any, sent: Any, reason: str) -> None:
    status, document, dmesg, said = sent
    with pytest.raises(TargetError) as failed:
        boot(status, document, f"[ 1.0] booted\n{dmesg}\n", said)
    first, _, rest = str(failed.value).partition("\n")
    assert first.rstrip() == reason
    assert "[ 1.0] booted" in rest
