# SPDX-License-Identifier: GPL-2.0-only
"""What runs a guest's CPUs: the choice, and the text of command lines that none could try."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from page_alloc_bench.targets import accel, hardware, qmp
from page_alloc_bench.targets.machine import kernel_arguments, machine
from page_alloc_bench.targets.process import TargetError, UsageError
from page_alloc_bench.targets.qemu import Qemu


def test_the_choice_is_made_within_a_second_and_told_in_a_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    started = time.process_time()
    assert accel.chosen("auto", "amd64") in ("kvm", "tcg")
    assert time.process_time() - started < 1
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1
    assert "KVM" in told[0]


def test_emulation_that_was_asked_for_needs_no_word(capfd: pytest.CaptureFixture[str]) -> None:
    assert accel.chosen("tcg", "amd64") == "tcg"
    assert capfd.readouterr().err == ""


def test_kvm_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "DEVICE", tmp_path / "none")
    monkeypatch.setattr(accel, "HOST", "amd64")
    with pytest.raises(TargetError, match="none: No such file"):
        accel.chosen("kvm", "amd64")
    with pytest.raises(TargetError, match="not arm64"):
        accel.chosen("kvm", "arm64")


def test_a_kvm_that_opens_and_is_slow_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this host had vmx: what is tried then decides."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(accel, "at_once", lambda _arch: None)
    monkeypatch.setattr(accel, "loop_s", lambda: (0.226, ""))
    assert "100,000 rounds of a loop in it takes 226 ms" in str(accel.fault("amd64"))
    monkeypatch.setattr(accel, "loop_s", lambda: (None, "KVM gave up with exit reason 9"))
    assert "does not end: KVM gave up with exit reason 9" in str(accel.fault("amd64"))


def test_a_busy_moment_decides_nothing_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slow try is not a fault, and a fault is tried again by the next command."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(accel, "at_once", lambda _arch: None)
    slow, quick = (0.226, ""), (0.0001, "")
    tries = [slow, slow, slow, quick]
    monkeypatch.setattr(accel, "loop_s", lambda: tries.pop(0))
    guests = [(None, ""), (0.1, "")]
    monkeypatch.setattr(accel, "boot_s", lambda _qemu, board, _limit: (
        guests.pop(0) if "kvm" in board else (0.1, "")))  # fmt: skip
    assert "226 ms" in str(accel.fault("amd64"))
    assert accel.fault("amd64") is None
    assert (tries, guests) == ([], [])
    assert accel.fault("amd64") is None  # of this boot and this QEMU, it is known


def test_why_the_loop_cannot_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "loop.py"
    monkeypatch.setattr(accel.kvm_loop, "__file__", str(program))
    program.write_text("raise OSError(12, 'Cannot allocate memory')")
    assert accel.loop_s() == (None, "OSError: [Errno 12] Cannot allocate memory")
    program.write_text("print(0.5)")
    assert accel.loop_s() == (0.5, "")


def test_a_guest_that_cannot_be_pinned_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hardware, "host_nodes", lambda: [0])
    monkeypatch.setattr(hardware, "host_cpus", lambda _node: [0])
    qemu = Qemu()
    try:
        (qemu.scratch / "pid").write_text(str(os.getpid()))
        (qemu.scratch / qmp.SOCKET).touch()
        monkeypatch.setattr(
            qmp, "ask", lambda *_: [{"cpu-index": n, "thread-id": 1} for n in range(4)]
        )
        for _ in range(3):
            assert not qmp.pin(qemu, machine(4, 2, "2G", accel="kvm"))
    finally:
        qemu.remove()
    assert capfd.readouterr().err.count("are not pinned") == 1


def test_a_tiny_guest_ends_under_emulation() -> None:
    seconds, said = accel.boot_s(
        accel.emulator("amd64"), ["-M", "pc", "-cpu", "max,cx16=off", "-accel", "tcg"], 30
    )
    assert (seconds is not None, said) == (True, "")


def test_under_kvm_memory_is_there_and_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "host_nodes", lambda: [0, 2])
    words = machine(4, 3, "3G", accel="kvm").arguments()
    text = " ".join(words)
    assert "-cpu host -accel kvm" in text
    assert "tcg" not in text
    for node, host in enumerate((0, 2, 0)):
        assert (
            f"memory-backend-memfd,id=m{node},size=1024M,prealloc=on,merge=off,"
            f"host-nodes={host},policy=bind" in words
        )
    assert "-smp 4," in text


def test_emulated_machines_are_as_they_were() -> None:
    text = " ".join(machine(4, 2, "2G").arguments())
    assert "-cpu max,cx16=off -accel tcg,thread=multi" in text
    assert "memory-backend-ram,id=m0,size=1024M" in text


def test_what_emulation_needs_of_a_kernel_hardware_does_not() -> None:
    assert {"no_timer_check", "watchdog_thresh=30"} <= {*kernel_arguments("").split()}
    words = kernel_arguments("x=1", accel="kvm").split()
    assert not {"no_timer_check", "watchdog_thresh=30"} & {*words}
    assert words[-1] == "x=1"


def test_instructions_are_counted_by_emulation_only() -> None:
    with pytest.raises(UsageError, match="emulation only"):
        machine(1, 1, "1G", icount=True, accel="kvm")


def test_each_cpu_of_a_guest_gets_one_of_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    cpus = {0: [0, 1, 2], 1: [3, 4, 5]}
    monkeypatch.setattr(hardware, "host_nodes", lambda: [0, 1])
    monkeypatch.setattr(hardware, "host_cpus", lambda node: list(cpus[node]))
    guest = machine(4, 2, "2G", accel="kvm")
    chosen, rest = hardware.places(guest.nodes_of_cpus)
    assert guest.nodes_of_cpus == [0, 0, 1, 1]
    assert {*chosen[:2]} <= {*cpus[0]}
    assert {*chosen[2:]} <= {*cpus[1]}
    assert sorted([*chosen, *rest]) == [0, 1, 2, 3, 4, 5]
    # One more would leave none for the other threads of QEMU.
    assert hardware.places(machine(6, 2, "2G", accel="kvm").nodes_of_cpus) == ([], [])


def test_lists_of_the_kernel_are_read() -> None:
    assert hardware.numbers("0-2,8\n") == [0, 1, 2, 8]
    assert hardware.numbers("\n") == []
