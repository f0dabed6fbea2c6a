# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that does not boot: the cause is found in what its console says."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_alloc_bench.targets.boot_failure import Boot, why_no_boot
from page_alloc_bench.targets.process import TargetError
from page_alloc_bench.targets.qemu import Qemu

PANIC = """\
[    0.000000] Linux version 6.12.1-own
[    1.230000] VFS: Unable to mount root fs on unknown-block(0,0)
[    1.240000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
""" + "".join(f"[    1.25{number:04}] Call trace, line {number}\n" for number in range(30))


@pytest.fixture
def qemu() -> Iterator[Qemu]:
    qemu = Qemu()
    yield qemu
    qemu.remove()
    assert not qemu.scratch.exists()


def says(qemu: Qemu, text: str) -> str:
    (qemu.scratch / "console").write_text(text)
    return str(why_no_boot(qemu, "it did not boot"))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (PANIC, "set CONFIG_BLK_DEV_INITRD=y"),
        ("Failed to execute /init (error -8)\nKernel panic - not syncing: No working init found.",
         "CONFIG_BINFMT_SCRIPT=y"),
        ("guest: no second serial port /dev/ttyS1", "CONFIG_SERIAL_8250_NR_UARTS"),
        ("ahci: version magic '6.1.0 SMP ' should be '6.1.1 SMP '", "of another build than"),
        ("ext4: disagrees about version of symbol module_layout", "of another build than"),
        ("Loading of unsigned module is rejected", "MODULE_SIG_FORCE"),
        ("insmod: can't insert '/modules/ahci.ko': Required key not available", "MODULE_SIG_FORCE"),
        ("guest: no disk /dev/sd?", "choose --reach serial"),
        ("appliance: no two disks /dev/vd?", "choose --reach serial"),
        ("guest: cannot mount the root file system", "set CONFIG_EXT4_FS=y"),
    ],
)  # fmt: skip
def test_the_cause_is_told_with_what_to_do(qemu: Qemu, text: str, cause: str) -> None:
    said = says(qemu, f"[ 0.0] Linux version 6.12\n{text}\n")
    assert cause in said
    assert "its console ends:\n" in said


def test_a_panic_is_quoted_though_its_line_has_scrolled_away(qemu: Qemu) -> None:
    said = says(qemu, PANIC)
    head, _, end = said.partition("its console ends:\n")
    assert "the kernel panicked: [    1.240000] Kernel panic - not syncing: VFS" in head
    assert len(end.splitlines()) == 20
    assert end.splitlines()[-1].endswith("line 29")


def test_an_unknown_reason_still_has_the_end_of_the_console(qemu: Qemu) -> None:
    assert says(qemu, "hello\n") == "it did not boot\nits console ends:\nhello"


def test_silence_is_told_apart(qemu: Qemu) -> None:
    said = says(qemu, "\n")
    assert "it wrote nothing to its console" in said
    assert "CONFIG_SERIAL_8250_CONSOLE=y" in said


def loop(boot: Boot) -> str:
    """Check until it fails; return why."""
    end = time.monotonic() + 60

    def go_on() -> None:
        while time.monotonic() < end:
            boot.check()

    with pytest.raises(TargetError) as caught:
        go_on()
    return str(caught.value)


def test_a_boot_that_hangs_is_given_up(qemu: Qemu) -> None:
    (qemu.scratch / "console").write_text("calling acpi_init\n")
    said = loop(Boot(qemu, 0.2))
    assert "did not get to the guest's first programs within 0.2 s" in said
    assert "--boot-timeout" not in said  # ab and bisect have no such option
    assert said.endswith("calling acpi_init")


def test_a_kernel_that_says_nothing_is_given_up(qemu: Qemu) -> None:
    assert "within 0.2 s: it wrote nothing" in loop(Boot(qemu, 0.2, verbose=True))


def test_a_kernel_that_panics_and_stays_is_given_up_at_once(qemu: Qemu) -> None:
    (qemu.scratch / "console").write_text(PANIC)
    assert "the kernel panicked" in loop(Boot(qemu, 3600))


def test_a_machine_that_ends_is_noticed(qemu: Qemu) -> None:
    qemu.start(["sh", "-c", f"echo Linux version >{qemu.scratch}/console"])
    assert "the kernel ended before the guest's first programs" in loop(Boot(qemu, 3600))


def test_an_emulator_that_fails_says_so_itself(qemu: Qemu) -> None:
    qemu.start(["sh", "-c", "echo no such device >&2; exit 1"])
    assert "QEMU ended (exit status 1): no such device" in loop(Boot(qemu, 3600))


OWNER = """
import sys, time
from page_alloc_bench.targets.qemu import Qemu
qemu = Qemu()
(qemu.scratch / "initrd").write_bytes(b"x" * 1000)
if sys.argv[1] == "started":
    qemu.start(["sleep", "600"])
print(qemu.scratch, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("step", ["made", "started"])
def test_nothing_stays_of_a_guest_whose_owner_is_killed(step: str) -> None:
    argv = [sys.executable, "-c", OWNER, step]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        scratch = Path(owner.stdout.readline().strip())
        assert (scratch / "initrd").is_file()
        owner.kill()
    end = time.monotonic() + 60
    while scratch.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not scratch.exists()
