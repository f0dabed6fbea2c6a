# SPDX-License-Identifier: GPL-2.0-only
"""What the guest that has nothing decides without booting anything."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_alloc_bench.targets import appliance, machine
from page_alloc_bench.targets.process import TargetError
from page_alloc_bench.targets.qemu import Qemu

WHOLE = {"stdout": b"out\n", "stderr": b"", "dmesg": b"log\n", "status": b"3\n"}


@pytest.fixture
def qemu() -> Iterator[Qemu]:
    qemu = Qemu()
    yield qemu
    qemu.remove()


def output(path: Path, own: dict[str, bytes], files: dict[str, bytes] | None = None) -> Path:
    """Write what a guest leaves on its second disk."""
    members = {f"appliance/output/{name}": data for name, data in own.items()} | (files or {})
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_an_arm64_machine_has_its_own_board_and_console() -> None:
    arguments = machine.machine(4, 2, "1G", arch="arm64").arguments()
    assert arguments[:2] == ["-M", "virt,gic-version=3"]
    assert "max,pauth-impdef=on" in arguments
    assert arguments.count("-numa") == 2
    assert machine.kernel_arguments("", "arm64").split()[0] == "console=ttyAMA0"
    assert "no_timer_check" not in machine.kernel_arguments("", "arm64")
    assert "no_timer_check" in machine.kernel_arguments("")


def test_a_machine_of_no_known_architecture() -> None:
    with pytest.raises(TargetError, match="no guest can be vax: there are amd64, arm64"):
        machine.machine(1, 1, "1G", arch="vax")


def test_files_go_in_with_their_modes(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o750)
    files: dict[str, Path | bytes] = {"/root/program": program, "/etc/data": b"\0data"}
    appliance.pack(tmp_path / "input", "exit 3\n", files, ["/root/a b", "/tmp"])
    with tarfile.open(tmp_path / "input") as archive:
        modes = {member.name: member.mode for member in archive}
        contents = {name: archive.extractfile(name).read() for name in modes}  # type: ignore[union-attr]
    assert contents == {
        "root/program": b"#!/bin/sh\n",
        "etc/data": b"\0data",
        "appliance/script": b"exit 3\n",
        "appliance/collect": b"/root/a b\n/tmp\n",
    }
    assert (modes["root/program"], modes["etc/data"]) == (0o750, 0o644)


@pytest.mark.parametrize("path", ["relative", "/two\nlines", ""])
def test_paths_that_cannot_work_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(TargetError, match="is not an absolute path"):
        appliance.pack(tmp_path / "input", "", {path: b""}, [])
    with pytest.raises(TargetError, match="is not an absolute path"):
        appliance.pack(tmp_path / "input", "", {}, [path])


def test_what_comes_out_is_told_apart(tmp_path: Path, qemu: Qemu) -> None:
    (qemu.scratch / "console").write_text("booted\n")
    files = {"root/result.json": b"{}", "tmp/dir/raw": b"\xff"}
    done = appliance.unpack(output(tmp_path / "out", WHOLE, files), qemu)
    assert (done.status, done.stdout, done.stderr, done.dmesg) == (3, "out\n", "", "log\n")
    assert done.files == {"/root/result.json": b"{}", "/tmp/dir/raw": b"\xff"}
    assert done.console == "booted\n"


def test_a_guest_that_wrote_nothing_or_half_is_an_error(tmp_path: Path, qemu: Qemu) -> None:
    (qemu.scratch / "console").write_text("Kernel panic - not syncing: why\nlast words\n")
    (qemu.scratch / "exit").write_text("0")
    empty, half = tmp_path / "empty", tmp_path / "half"
    empty.write_bytes(b"\0" * (1 << 20))
    half.write_bytes(output(tmp_path / "out", WHOLE).read_bytes()[:1700] + b"\0" * 4096)
    early = output(tmp_path / "early", {"stdout": b"out\n", "stderr": b"", "dmesg": b"log\n"})
    for path in (empty, half, early):
        with pytest.raises(TargetError, match=r"(?s)panicked: .*why.*console ends.*last words"):
            appliance.unpack(path, qemu)


def test_the_busybox_of_this_machine_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appliance, "HOST", "amd64")
    monkeypatch.setattr(appliance, "need", lambda tool, package: f"/{package}/{tool}")
    assert appliance.busybox("amd64") == Path("/busybox-static/busybox")
